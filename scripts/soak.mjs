// `npm run soak`: builds what is stale, then runs servers and a client against each other for minutes;
// test/soak/main.ts explains how. `npm run soak -- pubsub`: the same for publish and subscribe with
// subscribers that do not keep up, test/soak/pubsub/main.ts.

import { setup } from './setup.mjs';
import { Failure, main, must, run } from './steps.mjs';

await main(async () => {
  await setup();
  await must(process.execPath, ['node_modules/typescript/bin/tsc', '-b', 'test/soak']);
  const words = process.argv.slice(2);
  const folder = words[0] === 'pubsub' ? `${words.shift()}/` : '';
  // The options are the soak's own; it collects garbage before it measures.
  const { code } = await run(process.execPath, [
    '--expose-gc',
    `test/dist/soak/soak/${folder}main.js`,
    ...words,
  ]);
  if (code !== 0) throw new Failure(`The soak ended with code ${code}; see above.`);
});
