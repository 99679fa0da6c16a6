// Certificates that programs of several processes share: one makes them, the others find them in the
// repository's cache, so that an interop server and an interop client agree without being told how.

import { X509Certificate } from 'node:crypto';
import {
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { makeCertificate, serverOf } from './make.js';

const DAY_MS = 24 * 3600 * 1000;
const VALID_MS = 30 * DAY_MS;

/** The third name is the one that gRPC's own test certificates have. */
const NAMES = ['localhost', '127.0.0.1', '*.test.google.fr'];

const ourCache = fileURLToPath(new URL('../../../node_modules/.cache/millrace/', import.meta.url));

/** Paths of PEM files. */
export interface Kept {
  /** The authority that clients have to trust. */
  readonly ca: string;
  /** A server's certificate, for `localhost`, 127.0.0.1 and `*.test.google.fr`. */
  readonly cert: string;
  readonly key: string;
}

/** The kept certificates; made when there are none, or when they expire within a day. */
export function keptCertificates(cache: string = ourCache): Kept {
  const folder = join(cache, 'test-certificates');
  const kept = {
    ca: join(folder, 'ca.pem'),
    cert: join(folder, 'cert.pem'),
    key: join(folder, 'key.pem'),
  };
  if (expiryMs(kept.cert) > Date.now() + DAY_MS) return kept;
  mkdirSync(cache, { recursive: true });
  const made = mkdtempSync(`${folder}-`);
  const notAfter = new Date(Date.now() + VALID_MS);
  const authority = makeCertificate({ name: 'Millrace test authority', notAfter });
  const server = serverOf(authority, { alternativeNames: NAMES, notAfter });
  writeFileSync(join(made, 'ca.pem'), authority.cert);
  writeFileSync(join(made, 'cert.pem'), server.cert);
  writeFileSync(join(made, 'key.pem'), server.key, { mode: 0o600 });
  // A folder does not take the place of another that has files: of two processes that find none, the
  // first one's stays.
  if (existsSync(kept.cert)) rmSync(folder, { recursive: true, force: true });
  try {
    renameSync(made, folder);
  } catch (error) {
    rmSync(made, { recursive: true });
    if (!(expiryMs(kept.cert) > Date.now())) throw error;
  }
  return kept;
}

/** When a certificate expires; NaN where there is none that can be read. */
function expiryMs(file: string): number {
  try {
    return Date.parse(new X509Certificate(readFileSync(file)).validTo);
  } catch {
    return Number.NaN;
  }
}
