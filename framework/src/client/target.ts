import { isIP } from 'node:net';
import { MillraceError } from '../errors.js';

/** A target, read: where addresses come from, and what `:authority` says. */
export interface Target {
  /** As it was given. */
  readonly text: string;
  /** A name to be looked up; `undefined` where the addresses are given. */
  readonly name: { readonly host: string; readonly port: number } | undefined;
  /** As native code takes them; empty where a name has to be looked up. */
  readonly addresses: readonly string[];
  readonly authority: string;
}

const PORT_DEFAULT = 443;

/**
 * Reads a target: `host`, `host:port`, `dns:host:port`, `dns:///host:port`, `ipv4:a:p,b:p`,
 * `ipv6:[a]:p,[b]:p`, `unix:path`, `unix:///path`, `unix-abstract:name`. A missing port is 443.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/naming.md
 *
 * @throws MillraceError MILLRACE_TARGET_INVALID
 */
export function parseTarget(text: unknown): Target {
  if (typeof text !== 'string' || text === '') invalid(text, 'it is no text');
  const scheme = /^([a-z][a-z0-9+.-]*):(?!\d+$)/i.exec(text)?.[1]?.toLowerCase();
  const rest = scheme === undefined ? text : text.slice(scheme.length + 1);
  switch (scheme) {
    case 'unix':
      return unix(text, rest.startsWith('//') ? rest.slice(2) : rest);
    case 'unix-abstract':
      if (rest === '') invalid(text, 'the name is missing');
      return { text, name: undefined, addresses: [text], authority: 'localhost' };
    case 'ipv4':
    case 'ipv6':
      return addresses(text, scheme === 'ipv4' ? 4 : 6, rest);
    case 'dns':
      return dns(text, rest.startsWith('//') ? afterAuthority(text, rest) : rest);
    case undefined:
      return dns(text, text);
    case 'xds':
      return invalid(text, 'xds is not supported');
    case 'http':
    case 'https':
      return invalid(text, 'a target is no URL: leave out the scheme');
    default:
      return dns(text, text);
  }
}

function unix(text: string, path: string): Target {
  if (path === '') invalid(text, 'the path is missing');
  return { text, name: undefined, addresses: [`unix:${path}`], authority: 'localhost' };
}

function addresses(text: string, family: 4 | 6, rest: string): Target {
  const list = rest.split(',').map((one) => {
    const { host, port } = hostAndPort(text, one);
    if (isIP(host) !== family) invalid(text, `"${host}" is no IPv${family} address`);
    return address(host, port);
  });
  return { text, name: undefined, addresses: list, authority: list[0]! };
}

function dns(text: string, rest: string): Target {
  const { host, port } = hostAndPort(text, rest);
  const shown = host.includes(':') ? `[${host}]` : host;
  const authority = port === PORT_DEFAULT ? shown : `${shown}:${port}`;
  if (isIP(host) !== 0) {
    return { text, name: undefined, addresses: [address(host, port)], authority };
  }
  if (!/^[A-Za-z0-9_.-]+$/.test(host)) invalid(text, `"${host}" is no host name`);
  return { text, name: { host, port }, addresses: [], authority };
}

/** `//server/host:port` names a DNS server, which only an empty one is supported for. */
function afterAuthority(text: string, rest: string): string {
  const slash = rest.indexOf('/', 2);
  if (slash < 0) invalid(text, 'write dns:host:port or dns:///host:port');
  if (slash > 2) invalid(text, 'a DNS server of its own is not supported');
  return rest.slice(slash + 1);
}

function hostAndPort(text: string, given: string): { host: string; port: number } {
  // A bare IPv6 address has no port.
  if (isIP(given) === 6) return { host: given, port: PORT_DEFAULT };
  const bracketed = /^\[([^\]]*)\](?::(.*))?$/.exec(given);
  const plain = /^([^:]*)(?::(.*))?$/.exec(given);
  const match = bracketed ?? plain;
  if (match === null) invalid(text, `"${given}" is no host:port; write IPv6 addresses in brackets`);
  const [, host = '', portText] = match;
  if (host === '') invalid(text, 'the host is missing');
  if (bracketed !== null && isIP(host) !== 6) invalid(text, `"${host}" is no IPv6 address`);
  if (portText === undefined) return { host, port: PORT_DEFAULT };
  const port = Number(portText);
  if (!/^\d+$/.test(portText) || port < 1 || port > 65535) {
    invalid(text, `"${portText}" is no port`);
  }
  return { host, port };
}

/** An IP address and a port as native code takes them. */
export function address(host: string, port: number): string {
  return isIP(host) === 6 ? `[${host}]:${port}` : `${host}:${port}`;
}

function invalid(text: unknown, why: string): never {
  const shown = typeof text === 'string' ? `"${text}"` : String(text);
  throw new MillraceError('MILLRACE_TARGET_INVALID', `the target ${shown} cannot be read: ${why}`);
}
