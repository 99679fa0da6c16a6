import { statSync } from 'node:fs';
import type { NativeTls } from '../bridge/native.js';
import { MillraceError } from '../errors.js';
import { isTlsSource, pathOf, readSource, type TlsSource } from '../tls-source.js';

/** What `serve({ tls })` takes. */
export interface TlsOptions {
  /** The certificate chain, the server's own certificate first. */
  readonly cert: TlsSource;
  /** Its private key, without a password. */
  readonly key: TlsSource;
  /** The authorities that sign clients' certificates. Needed with `clientCertificate`. */
  readonly ca?: TlsSource;
  /**
   * `request`: clients may present a certificate; an invalid one ends the handshake. `require`: there
   * is no connection without a valid one. Absent: clients are not asked. `ctx.peer.identity` says who
   * a client is.
   */
  readonly clientCertificate?: 'request' | 'require';
  /**
   * Looks at the files this often, in milliseconds, and reloads when one has changed. Default 0: only
   * `server.reloadTls()` reloads.
   */
  readonly watchMs?: number;
}

const known = ['cert', 'key', 'ca', 'clientCertificate', 'watchMs'];

/** @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkTls(given: unknown): TlsOptions | undefined {
  if (given === undefined) return undefined;
  if (typeof given !== 'object' || given === null) invalid('tls', 'an object with cert and key');
  const options = given as Record<string, unknown>;
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      throw new MillraceError(
        'MILLRACE_OPTION_INVALID',
        `tls has no option "${name}"; it has ${known.join(', ')}`,
      );
    }
  }
  for (const name of ['cert', 'key', 'ca']) {
    const source = options[name];
    if (source === undefined && name === 'ca') continue;
    if (!isTlsSource(source))
      invalid(`tls.${name}`, 'PEM, or the path or file: URL of a file with PEM');
  }
  const { ca, clientCertificate, watchMs = 0 } = given as TlsOptions;
  if (clientCertificate !== undefined && !['request', 'require'].includes(clientCertificate)) {
    invalid('tls.clientCertificate', 'request or require');
  }
  if ((clientCertificate === undefined) !== (ca === undefined)) {
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      'tls.ca and tls.clientCertificate go together: the one says who signs clients’ certificates, the other that clients are asked for them',
    );
  }
  if (!Number.isInteger(watchMs) || watchMs < 0 || watchMs > 0x7fffffff) {
    invalid('tls.watchMs', 'a whole number of milliseconds');
  }
  return given as TlsOptions;
}

/**
 * Reads the files: plain text, for it crosses to workers.
 *
 * @throws MillraceError MILLRACE_TLS_FILE
 */
export function readTls(options: TlsOptions): NativeTls {
  const { ca, clientCertificate } = options;
  return {
    cert: readSource('cert', options.cert),
    key: readSource('key', options.key),
    ...(ca === undefined ? {} : { ca: readSource('ca', ca) }),
    ...(clientCertificate === undefined ? {} : { clientCertificate }),
  };
}

/**
 * Calls `changed` whenever one of the files has another time, size or inode than before. Symbolic
 * links are followed, so that a mounted secret that is replaced as a whole is seen. Does not keep
 * the process.
 *
 * @returns how to stop, or `undefined` where there is nothing to watch
 */
export function watchTls(options: TlsOptions, changed: () => void): (() => void) | undefined {
  const files = [options.cert, options.key, options.ca].flatMap((source) => pathOf(source) ?? []);
  const { watchMs = 0 } = options;
  if (watchMs === 0 || files.length === 0) return undefined;
  const look = () => files.map(fingerprint).join();
  let last = look();
  const timer = setInterval(() => {
    const now = look();
    if (now === last) return;
    last = now;
    changed();
  }, watchMs);
  timer.unref();
  return () => clearInterval(timer);
}

function fingerprint(file: string): string {
  const found = statSync(file, { throwIfNoEntry: false });
  return found === undefined ? 'none' : `${found.mtimeMs}/${found.size}/${found.ino}`;
}

function invalid(name: string, wanted: string): never {
  throw new MillraceError('MILLRACE_OPTION_INVALID', `${name} has to be ${wanted}`);
}
