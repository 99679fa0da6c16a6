// `npm run endurance`: builds what is stale, then kills consumers, servers and nats-server while a million
// events go through pub/sub; test/endurance/main.ts explains how.

import { setup } from './setup.mjs';
import { Failure, main, must, run } from './steps.mjs';

await main(async () => {
  await setup();
  await must(process.execPath, ['node_modules/typescript/bin/tsc', '-b', 'test/endurance']);
  // The options are the test's own.
  const { code } = await run(process.execPath, [
    'test/dist/endurance/endurance/main.js',
    ...process.argv.slice(2),
  ]);
  if (code !== 0) throw new Failure(`The endurance test ended with code ${code}; see above.`);
});
