import type { NativeClientTls } from '../bridge/native.js';
import { MillraceError } from '../errors.js';
import { isTlsSource, readSource, type TlsSource } from '../tls-source.js';

/** How a connection speaks TLS. Servers are always verified. */
export interface ClientTlsOptions {
  /** The authorities to trust. Default: those of the system. */
  readonly ca?: TlsSource | undefined;
  /** For servers that ask who calls: the chain, the own certificate first. */
  readonly cert?: TlsSource | undefined;
  /** Its private key, without a password. */
  readonly key?: TlsSource | undefined;
  /** What the server's certificate has to be for. Default: the host of the target, or of `authority`. */
  readonly serverName?: string | undefined;
}

const known = ['ca', 'cert', 'key', 'serverName'];

/**
 * Reads the files, once.
 *
 * @throws MillraceError MILLRACE_OPTION_INVALID, MILLRACE_TLS_FILE
 */
export function readClientTls(
  given: boolean | ClientTlsOptions | undefined,
): NativeClientTls | undefined {
  if (given === undefined || given === false) return undefined;
  if (given === true) return {};
  if (typeof given !== 'object' || given === null) invalid('tls is neither true nor an object');
  for (const name of Object.keys(given)) {
    if (!known.includes(name)) invalid(`tls has no option "${name}"; it has ${known.join(', ')}`);
  }
  const { cert, key, serverName } = given;
  if ((cert === undefined) !== (key === undefined)) invalid('tls.cert and tls.key go together');
  if (serverName !== undefined && (typeof serverName !== 'string' || serverName === '')) {
    invalid('tls.serverName has to be a name');
  }
  const texts: Record<string, string> = {};
  for (const name of ['ca', 'cert', 'key'] as const) {
    const source = given[name];
    if (source === undefined) continue;
    if (!isTlsSource(source)) {
      invalid(`tls.${name} has to be PEM, or the path or file: URL of a file with PEM`);
    }
    texts[name] = readSource(name, source);
  }
  return { ...texts, ...(serverName === undefined ? {} : { serverName }) };
}

function invalid(what: string): never {
  throw new MillraceError('MILLRACE_OPTION_INVALID', what);
}
