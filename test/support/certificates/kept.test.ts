import { X509Certificate } from 'node:crypto';
import { mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, expect, test } from 'vitest';
import { keptCertificates } from './kept.js';
import { makeAuthority, serverOf } from './make.js';

let cache = '';

beforeEach(() => {
  cache = mkdtempSync(join(tmpdir(), 'millrace-certificates-'));
});

afterEach(() => {
  rmSync(cache, { recursive: true });
});

test('programs of several processes find the same certificates', () => {
  const made = keptCertificates(cache);
  const texts = Object.values(made).map((file) => readFileSync(file, 'utf8'));
  const found = keptCertificates(cache);
  expect(found).toEqual(made);
  expect(Object.values(found).map((file) => readFileSync(file, 'utf8'))).toEqual(texts);
});

test('the authority signed a certificate for the names that suites use', () => {
  const { ca, cert, key } = keptCertificates(cache);
  const certificate = new X509Certificate(readFileSync(cert));
  expect(certificate.verify(new X509Certificate(readFileSync(ca)).publicKey)).toBe(true);
  expect(certificate.checkHost('localhost')).toBeDefined();
  expect(certificate.checkHost('foo.test.google.fr')).toBeDefined();
  expect(certificate.checkIP('127.0.0.1')).toBeDefined();
  expect(statSync(key).mode & 0o077).toBe(0);
});

test('a certificate that soon expires is replaced', () => {
  const { cert } = keptCertificates(cache);
  const soon = serverOf(makeAuthority().authority, { notAfter: new Date(Date.now() + 60_000) });
  writeFileSync(cert, soon.cert);
  keptCertificates(cache);
  const { validTo } = new X509Certificate(readFileSync(cert));
  expect(Date.parse(validTo)).toBeGreaterThan(Date.now() + 24 * 3600 * 1000);
});
