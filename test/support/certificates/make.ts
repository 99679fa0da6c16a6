// Certificates for tests, made when they are needed: X.509 (RFC 5280) in DER, signed by node:crypto.

import {
  generateKeyPairSync,
  type KeyObject,
  randomBytes,
  sign,
  X509Certificate,
} from 'node:crypto';
import { isIPv4 } from 'node:net';

const DAY_MS = 24 * 3600 * 1000;

export interface Made {
  /** PEM; with `issuer` not a chain but this certificate alone. */
  readonly cert: string;
  readonly key: string;
  /** `AB:CD:…` */
  readonly fingerprint256: string;
  readonly name: string;
  readonly privateKey: KeyObject;
}

export interface Wanted {
  /** The common name of its subject. */
  readonly name: string;
  /** DNS names, IPv4 addresses and URIs. */
  readonly alternativeNames?: readonly string[];
  /** Who signs; absent: itself, as an authority. */
  readonly issuer?: Made;
  readonly notBefore?: Date;
  readonly notAfter?: Date;
}

/** A certificate with a new key (ECDSA, P-256), valid from yesterday until tomorrow. */
export function makeCertificate(wanted: Wanted): Made {
  const { name, alternativeNames = [], issuer } = wanted;
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const from = wanted.notBefore ?? new Date(Date.now() - DAY_MS);
  const to = wanted.notAfter ?? new Date(Date.now() + DAY_MS);
  const extensions = [
    extension(
      [2, 5, 29, 19],
      sequence(...(issuer === undefined ? [der(0x01, Buffer.of(255))] : [])),
    ),
  ];
  if (alternativeNames.length > 0) {
    extensions.push(extension([2, 5, 29, 17], sequence(...alternativeNames.map(generalName))));
  }
  const algorithm = sequence(identifier([1, 2, 840, 10045, 4, 3, 2]));
  const serial = randomBytes(8);
  serial[0] = 1 + (serial[0]! & 0x3f);
  const body = sequence(
    der(0xa0, integer(Buffer.of(2))),
    integer(serial),
    algorithm,
    distinguishedName(issuer?.name ?? name),
    sequence(time(from), time(to)),
    distinguishedName(name),
    publicKey.export({ type: 'spki', format: 'der' }),
    der(0xa3, sequence(...extensions)),
  );
  const signature = sign('sha256', body, issuer?.privateKey ?? privateKey);
  const whole = sequence(body, algorithm, der(0x03, Buffer.of(0), signature));
  return {
    cert: pem('CERTIFICATE', whole),
    key: privateKey.export({ type: 'pkcs8', format: 'pem' }) as string,
    fingerprint256: new X509Certificate(whole).fingerprint256,
    name,
    privateKey,
  };
}

/** An authority, and a server certificate of it for 127.0.0.1 and localhost. */
export function makeAuthority(): { authority: Made; server: Made } {
  const authority = makeCertificate({ name: `authority ${randomBytes(4).toString('hex')}` });
  return { authority, server: serverOf(authority) };
}

export function serverOf(authority: Made, wanted: Partial<Wanted> = {}): Made {
  return makeCertificate({
    name: 'server',
    alternativeNames: ['localhost', '127.0.0.1'],
    issuer: authority,
    ...wanted,
  });
}

function pem(label: string, bytes: Buffer): string {
  const lines = bytes.toString('base64').match(/.{1,64}/g)!;
  return [`-----BEGIN ${label}-----`, ...lines, `-----END ${label}-----`, ''].join('\n');
}

function der(tag: number, ...content: readonly Buffer[]): Buffer {
  const bytes = Buffer.concat(content);
  const { length } = bytes;
  if (length < 128) return Buffer.concat([Buffer.of(tag, length), bytes]);
  const size = length < 256 ? Buffer.of(0x81, length) : Buffer.of(0x82, length >> 8, length & 255);
  return Buffer.concat([Buffer.of(tag), size, bytes]);
}

const sequence = (...content: readonly Buffer[]) => der(0x30, ...content);
const integer = (bytes: Buffer) => der(0x02, bytes);

function identifier([first = 0, second = 0, ...rest]: readonly number[]): Buffer {
  const bytes = [first * 40 + second];
  for (const arc of rest) {
    const groups = [arc & 127];
    for (let left = arc >> 7; left > 0; left >>= 7) groups.unshift((left & 127) | 128);
    bytes.push(...groups);
  }
  return der(0x06, Buffer.from(bytes));
}

function distinguishedName(commonName: string): Buffer {
  return sequence(
    der(0x31, sequence(identifier([2, 5, 4, 3]), der(0x0c, Buffer.from(commonName)))),
  );
}

/** GeneralizedTime after 2049, as RFC 5280 section 4.1.2.5 asks for; UTCTime before. */
function time(date: Date): Buffer {
  const text = `${date.toISOString().slice(0, 19).replace(/[-T:]/g, '')}Z`;
  return date.getUTCFullYear() < 2050
    ? der(0x17, Buffer.from(text.slice(2)))
    : der(0x18, Buffer.from(text));
}

function extension(name: readonly number[], value: Buffer): Buffer {
  return sequence(identifier(name), der(0x04, value));
}

function generalName(name: string): Buffer {
  if (isIPv4(name)) return der(0x87, Buffer.from(name.split('.').map(Number)));
  return der(name.includes('://') ? 0x86 : 0x82, Buffer.from(name));
}
