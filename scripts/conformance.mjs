// `npm run conformance`: builds what is stale, then runs other people's suites against Millrace;
// test/conformance/main.mjs explains how.

import { setup } from './setup.mjs';
import { Failure, main, must, run } from './steps.mjs';

await main(async () => {
  await setup();
  await must(process.execPath, ['node_modules/typescript/bin/tsc', '-b', 'test/interop']);
  const { code } = await run(process.execPath, ['test/conformance/main.mjs']);
  if (code !== 0) throw new Failure(`The conformance suites ended with code ${code}; see above.`);
});
