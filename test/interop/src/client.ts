// The interoperability client:
// `npm run interop:client -- --server_host localhost --server_port 10000 --test_case large_unary [--tls]`.
// Without a case it runs all of them. Code 1 when one fails.
//
// `--tls` trusts the authority of the kept test certificates, as `--use_tls --use_test_ca` do;
// `--use_tls` alone trusts those of the system. `--no_probe` is for servers whose handlers cannot see
// whether a request came compressed: the compressed cases then do not ask whether it is noticed.

import { parseArgs } from 'node:util';
import { keptCertificates } from '#certificates';
import { CASES, runCase } from './cases.js';
import { isOn, withValues } from './flags.js';

const { values } = parseArgs({
  args: withValues(process.argv.slice(2), ['use_tls', 'use_test_ca']),
  options: {
    server_host: { type: 'string', default: 'localhost' },
    server_port: { type: 'string', default: '10000' },
    test_case: { type: 'string' },
    tls: { type: 'boolean', default: false },
    use_tls: { type: 'string', default: 'false' },
    use_test_ca: { type: 'string', default: 'false' },
    ca_file: { type: 'string' },
    server_host_override: { type: 'string' },
    no_probe: { type: 'boolean', default: false },
  },
});

function tls() {
  if (!values.tls && !isOn('use_tls', values.use_tls)) return false;
  const testAuthority = values.tls || isOn('use_test_ca', values.use_test_ca);
  const ca = values.ca_file ?? (testAuthority ? keptCertificates().ca : undefined);
  return { ca, serverName: values.server_host_override };
}

const server = {
  target: `${values.server_host}:${values.server_port}`,
  tls: tls(),
  seesCompression: !values.no_probe,
};
for (const name of values.test_case === undefined ? CASES : [values.test_case]) {
  try {
    await runCase(name, server);
    console.log(`${name}: passed`);
  } catch (error) {
    console.error(`${name}: ${error instanceof Error ? error.message : String(error)}`);
    process.exitCode = 1;
  }
}
