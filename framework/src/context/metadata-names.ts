/**
 * Names that begin with `grpc-` and are the application's all the same: how long a client should
 * wait before it retries (gRFC A6), status details as bytes, and what tracing hands on. The rest is
 * gRPC's own, now or later.
 */
const SHARED = new Set([
  'grpc-retry-pushback-ms',
  'grpc-status-details-bin',
  'grpc-tags-bin',
  'grpc-trace-bin',
]);

/** Who sets these fields instead. */
const RESERVED: Readonly<Record<string, string>> = {
  'accept-encoding': 'it belongs to HTTP',
  connection: 'HTTP/2 has no such field',
  'content-length': 'it belongs to HTTP',
  'content-type': 'it belongs to gRPC',
  host: 'it belongs to HTTP; a connection takes an authority',
  'keep-alive': 'HTTP/2 has no such field',
  'proxy-connection': 'HTTP/2 has no such field',
  te: 'it belongs to gRPC',
  'transfer-encoding': 'HTTP/2 has no such field',
  upgrade: 'HTTP/2 has no such field',
  'user-agent': 'a connection takes a userAgent',
  'grpc-message': 'a StatusError has a message',
  'grpc-previous-rpc-attempts': 'retries set it',
  'grpc-status': 'a StatusError has a code',
  'grpc-timeout': 'a call takes a timeoutMs or deadline',
};

const legalName = /^[0-9a-z_.-]+$/;
const legalCharacter = /[0-9a-z_.-]/;

/**
 * Why an application may not set metadata of that name, in lower case; `undefined` if it may. The
 * native core knows the same names, and would not send them.
 */
export function refusalOfName(name: string): string | undefined {
  if (!legalName.test(name)) {
    if (name === '') return 'a name is empty';
    const at = [...name].findIndex((character) => !legalCharacter.test(character));
    return `the name ${JSON.stringify(name)} has an illegal ${describe([...name][at] as string)}`;
  }
  if (Object.hasOwn(RESERVED, name)) return `the name "${name}" is reserved: ${RESERVED[name]}`;
  if (name.startsWith('grpc-') && !SHARED.has(name)) {
    return `the name "${name}" is reserved: gRPC keeps all that begin with "grpc-"`;
  }
  return undefined;
}

/** A character as a message may show it. */
export function describe(character: string): string {
  const code = (character.codePointAt(0) as number).toString(16).toUpperCase().padStart(4, '0');
  return /[\x21-\x7e]/.test(character) ? `"${character}"` : `character U+${code}`;
}
