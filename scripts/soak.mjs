// `npm run soak`: builds what is stale, then runs servers and a client against each other for minutes;
// test/soak/main.ts explains how.

import { setup } from './setup.mjs';
import { Failure, main, must, run } from './steps.mjs';

await main(async () => {
  await setup();
  await must(process.execPath, ['node_modules/typescript/bin/tsc', '-b', 'test/soak']);
  // The options are the soak's own; it collects garbage before it measures.
  const { code } = await run(process.execPath, [
    '--expose-gc',
    'test/dist/soak/soak/main.js',
    ...process.argv.slice(2),
  ]);
  if (code !== 0) throw new Failure(`The soak ended with code ${code}; see above.`);
});
