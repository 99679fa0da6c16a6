// The interoperability client:
// `npm run interop:client -- --server_host localhost --server_port 10000 --test_case large_unary`.
// Without a case it runs all of them. Code 1 when one fails.

import { parseArgs } from 'node:util';
import { CASES, runCase } from './cases.js';

const { values } = parseArgs({
  options: {
    server_host: { type: 'string', default: 'localhost' },
    server_port: { type: 'string', default: '10000' },
    test_case: { type: 'string' },
  },
});

for (const name of values.test_case === undefined ? CASES : [values.test_case]) {
  try {
    await runCase(name, `${values.server_host}:${values.server_port}`);
    console.log(`${name}: passed`);
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
