import { expect, test } from 'vitest';
import { parseTarget } from './target.js';

test.each<[string, string[] | { host: string; port: number }, string]>([
  ['localhost:50051', { host: 'localhost', port: 50051 }, 'localhost:50051'],
  ['example.org', { host: 'example.org', port: 443 }, 'example.org'],
  ['dns:example.org:1', { host: 'example.org', port: 1 }, 'example.org:1'],
  ['dns:///example.org:1', { host: 'example.org', port: 1 }, 'example.org:1'],
  ['127.0.0.1:80', ['127.0.0.1:80'], '127.0.0.1:80'],
  ['[::1]:80', ['[::1]:80'], '[::1]:80'],
  ['::1', ['[::1]:443'], '[::1]'],
  ['ipv4:1.2.3.4:5,6.7.8.9:10', ['1.2.3.4:5', '6.7.8.9:10'], '1.2.3.4:5'],
  ['ipv6:[::1]:5,[fe80::1]:6', ['[::1]:5', '[fe80::1]:6'], '[::1]:5'],
  ['unix:relative/path', ['unix:relative/path'], 'localhost'],
  ['unix:///absolute/path', ['unix:/absolute/path'], 'localhost'],
  ['unix-abstract:name', ['unix-abstract:name'], 'localhost'],
])('%s', (text, found, authority) => {
  const target = parseTarget(text);
  expect(Array.isArray(found) ? target.addresses : target.name).toEqual(found);
  expect(target.authority).toBe(authority);
  expect(target.text).toBe(text);
});

test.each<[unknown, RegExp]>([
  ['', /no text/],
  [7, /no text/],
  ['host:0', /"0" is no port/],
  ['host:port', /"port" is no port/],
  ['host:70000', /"70000" is no port/],
  [':80', /host is missing/],
  ['unix:', /path is missing/],
  ['unix-abstract:', /name is missing/],
  ['xds:///service', /xds is not supported/],
  ['http://host:80', /no URL/],
  ['ipv4:[::1]:80', /no IPv4 address/],
  ['ipv6:1.2.3.4:80', /no IPv6 address/],
  ['[host]:80', /no IPv6 address/],
  ['dns://8.8.8.8/host:80', /DNS server/],
  ['a b:80', /no host name/],
])('%s is refused', (text, why) => {
  expect(() => parseTarget(text)).toThrow(why);
  expect(() => parseTarget(text)).toThrow('MILLRACE_TARGET_INVALID');
});
