import { once } from 'node:events';
import { constants, type PerformanceEntry, PerformanceObserver } from 'node:perf_hooks';
import { expect, test } from 'vitest';
import { collectCopies, copies } from './copies.js';
import { Reader } from './reader.js';

type CollectionEntry = PerformanceEntry & { readonly detail: { kind: number; flags: number } };

const MEBIBYTE = 1024 * 1024;

/** A `bytes` field: its length, a varint, and its content. */
function field(length: number): Uint8Array {
  const bytes = new Uint8Array(length + 3);
  bytes.set([(length & 0x7f) | 0x80, ((length >> 7) & 0x7f) | 0x80, length >> 14]);
  return bytes;
}

function readFor(bytes: number, length: number): void {
  const input = field(length);
  const reader = new Reader();
  for (let read = 0; read < bytes; read += length) reader.set(input, 0, input.length).bytesField();
}

test.each([
  ['with memory of their own', 64 * 1024],
  ['from the pool', 1024],
])('copies %s are counted', (_, length) => {
  copies.bytes = 0;
  readFor(MEBIBYTE, length);
  expect(copies.bytes).toBeGreaterThanOrEqual(MEBIBYTE - 32 * 1024);
  expect(copies.bytes).toBeLessThanOrEqual(MEBIBYTE + 32 * 1024);
});

test('copies that V8 keeps in the object itself are not', () => {
  copies.bytes = 0;
  readFor(MEBIBYTE, 64);
  expect(copies.bytes).toBe(0);
});

test('8 MiB of copies are followed by a young collection, fewer are not', async () => {
  const collections: PerformanceEntry[] = [];
  const observer = new PerformanceObserver((list) => collections.push(...list.getEntries()));
  observer.observe({ entryTypes: ['gc'] });
  const forced = () =>
    collections.filter((entry) => {
      const { kind, flags } = (entry as CollectionEntry).detail;
      const isForced = (flags & constants.NODE_PERFORMANCE_GC_FLAGS_FORCED) !== 0;
      return kind === constants.NODE_PERFORMANCE_GC_MINOR && isForced;
    }).length;

  copies.bytes = 0;
  readFor(7 * MEBIBYTE, 1024);
  collectCopies();
  readFor(2 * MEBIBYTE, 1024);
  expect(forced()).toBe(0);
  collectCopies();
  expect(copies.bytes).toBe(0);
  collectCopies();
  // Entries arrive by the event loop.
  const { port1, port2 } = new MessageChannel();
  while (collections.length === 0 || forced() === 0) {
    port2.postMessage(0);
    await once(port1, 'message');
  }
  observer.disconnect();
  port1.close();
  expect(forced()).toBe(1);
  expect(globalThis.gc, 'nobody else gets to see the collector').toBeUndefined();
});
