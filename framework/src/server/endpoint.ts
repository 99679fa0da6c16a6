import { isIP } from 'node:net';
import { MillraceError } from '../errors.js';
import { checkNumber } from '../limits.js';

/** Where a server listens: plain data, for it crosses to workers. */
export type Endpoint = (
  | { readonly host: string; readonly port: number }
  /** `unix:/path` or `unix-abstract:name`, and the permission of the file. */
  | { readonly unix: string; readonly mode: number | undefined }
) & {
  /** The socket that listens there already. */
  readonly descriptor?: number;
};

interface EndpointOptions {
  readonly host?: string;
  readonly port?: number;
  readonly path?: string;
  readonly pathMode?: number;
}

const ABSTRACT = 'unix-abstract:';

/** @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkEndpoint(given: EndpointOptions): Endpoint {
  const { path, pathMode } = given;
  if (path === undefined) {
    if (pathMode !== undefined) {
      invalid(`pathMode is the permission of a Unix socket's file; give path too, or leave it out`);
    }
    const host = given.host ?? '127.0.0.1';
    if (typeof host !== 'string' || host === '') {
      invalid(
        `host is ${JSON.stringify(host) ?? String(host)}, but has to be a name or an address`,
      );
    }
    if (host.startsWith('unix:') || host.startsWith(ABSTRACT)) {
      invalid(`host is "${host}", but a Unix socket is given as path, without host and port`);
    }
    return { host, port: checkNumber('port', given.port ?? 50051, 0, 65535) };
  }
  if (given.host !== undefined || given.port !== undefined) {
    invalid(
      'path is a Unix socket, which has no host and no port: leave them out, or leave path out',
    );
  }
  if (typeof path !== 'string' || path === '' || path === ABSTRACT || path.includes('\0')) {
    const shown = JSON.stringify(path) ?? String(path);
    invalid(`path is ${shown}, but has to be a file's path or unix-abstract:name`);
  }
  if (path.startsWith(ABSTRACT)) {
    if (pathMode !== undefined) {
      invalid(
        'pathMode is the permission of a file, and an abstract socket has none: leave it out',
      );
    }
    return { unix: path, mode: undefined };
  }
  const mode = pathMode === undefined ? undefined : checkNumber('pathMode', pathMode, 0, 0o777);
  return { unix: path.startsWith('unix:') ? path : `unix:${path}`, mode };
}

/** @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkDescriptor(
  given: EndpointOptions & { readonly descriptor?: number },
): number | undefined {
  if (given.descriptor === undefined) return undefined;
  const { host, port, path } = given;
  if (host !== undefined || port !== undefined || path !== undefined) {
    invalid('descriptor listens already: leave host, port and path out, or leave it out');
  }
  return checkNumber('descriptor', given.descriptor, 0, 0x7fffffff);
}

/** Whether nobody but this machine reaches it, so that nobody else listens in. */
export function isLocal(endpoint: Endpoint): boolean {
  if ('unix' in endpoint) return true;
  const { host } = endpoint;
  if (isIP(host) === 4) return host.startsWith('127.');
  return host === 'localhost' || host === '::1' || host === '[::1]';
}

function invalid(what: string): never {
  throw new MillraceError('MILLRACE_OPTION_INVALID', what);
}
