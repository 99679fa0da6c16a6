// The interoperability server: `npm run interop:server -- --port 10000 [--tls]`. SIGTERM drains it.
//
// With `--tls` it takes the kept test certificates, whose authority our own client trusts with
// `--tls`; or those of `--tls_cert_file` and `--tls_key_file`.

import { parseArgs } from 'node:util';
import { serve } from 'millrace';
import { keptCertificates } from '#certificates';
import { isOn, withValues } from './flags.js';
import { testService } from './service.js';

const { values } = parseArgs({
  args: withValues(process.argv.slice(2), ['use_tls']),
  options: {
    host: { type: 'string', default: '127.0.0.1' },
    port: { type: 'string', default: '10000' },
    tls: { type: 'boolean', default: false },
    use_tls: { type: 'string', default: 'false' },
    tls_cert_file: { type: 'string' },
    tls_key_file: { type: 'string' },
  },
});

function certificates() {
  const { tls_cert_file: cert, tls_key_file: key } = values;
  if (cert === undefined && key === undefined) return keptCertificates();
  if (cert === undefined || key === undefined) {
    throw new Error('--tls_cert_file and --tls_key_file go together');
  }
  return { cert, key };
}

function tls() {
  if (!values.tls && !isOn('use_tls', values.use_tls)) return {};
  const { cert, key } = certificates();
  return { tls: { cert, key } };
}

await serve({ services: [testService], host: values.host, port: Number(values.port), ...tls() });
