// `npm run bench`: builds what is stale, then measures; test/bench/main.mjs explains how.

import { setup } from './setup.mjs';
import { Failure, main, run } from './steps.mjs';

await main(async () => {
  await setup();
  // The options are the benchmark's own; its output goes where ours goes.
  const { code } = await run(process.execPath, ['test/bench/main.mjs', ...process.argv.slice(2)]);
  if (code !== 0) throw new Failure(`The benchmark ended with code ${code}; see above.`);
});
