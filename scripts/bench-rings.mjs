// `npm run bench:rings`: builds the proxy of the ring crate, then measures; test/bench/rings/main.mjs
// explains how.

import { ask, Failure, main, must, run } from './steps.mjs';

await main(async () => {
  const build = ['build', '--release', '--manifest-path', 'native/Cargo.toml'];
  build.push('-p', 'millrace-ring', '--example', 'proxy');
  await must('cargo', build);
  const messages = await ask('cargo', [...build, '--quiet', '--message-format', 'json']);
  const program = messages
    ?.split('\n')
    .flatMap((line) => (line === '' ? [] : [JSON.parse(line)]))
    .find((message) => message.target?.name === 'proxy' && message.executable)?.executable;
  if (program === undefined) throw new Failure('cargo did not say where the proxy is.');
  // The options are the benchmark's own; its output goes where ours goes.
  const args = ['test/bench/rings/main.mjs', ...process.argv.slice(2)];
  const { code } = await run(process.execPath, args, { env: { MILLRACE_RING_PROXY: program } });
  if (code !== 0) throw new Failure(`The benchmark ended with code ${code}; see above.`);
});
