import { BadRequest, ErrorInfo, Status, StatusError } from 'millrace';
import { expect, test } from 'vitest';
import type { Published } from './backplane/backplane.js';
import {
  checksOf,
  deferred,
  FakeLink,
  FakeWriter,
  fakeContext,
  published,
  settled,
} from './fakes.test-support.js';
import type { PublishReplyInit, PublishRequest } from './gen/millrace/pubsub/v1/pubsub.js';
import { Publishing } from './publishing.js';
import { zeroCounters } from './stats.js';

function begun(openMost = 4) {
  const link = new FakeLink();
  const counters = zeroCounters();
  const publishing = new Publishing(link, checksOf(), counters, openMost);
  const writer = new FakeWriter<PublishReplyInit>();
  const stream = publishing.open(fakeContext().ctx, writer);
  writer.closed = () => stream.closed();
  return { link, counters, publishing, writer, stream };
}

function request(topic: string): PublishRequest {
  return { topic, payload: new Uint8Array(1), attributes: new Map(), messageId: '' };
}

const sequences = (writer: FakeWriter<PublishReplyInit>) =>
  writer.written.map(({ sequence }) => Number(sequence));

test('what the backplane answers at once is replied to at once, without a promise', () => {
  const { writer, stream, counters } = begun();
  for (let count = 0; count < 10; count++) expect(stream.message(request('a'))).toBeUndefined();
  expect(sequences(writer)).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 10]);
  expect(counters.published).toBe(10);
  stream.end();
  expect(writer.ended).toBe(true);
});

test('replies keep the order of requests, whatever is answered first', async () => {
  const { link, writer, stream } = begun();
  const [first, second] = [deferred<Published>(), deferred<Published>()];
  link.outcomes.push(first.promise, second.promise);
  for (let count = 0; count < 3; count++) void stream.message(request('a'));
  const ended = stream.end();
  second.resolve(published(2));
  await settled();
  expect(sequences(writer)).toEqual([]);
  expect(writer.ended).toBe(false);
  first.resolve(published(1));
  await ended;
  expect(sequences(writer)).toEqual([1, 2, 3]);
  expect(writer.ended).toBe(true);
});

test('so many outcomes may be open; then requests wait', async () => {
  const { link, writer, stream } = begun(2);
  const open = [1, 2].map(() => deferred<Published>());
  link.outcomes.push(...open.map(({ promise }) => promise));
  expect(stream.message(request('a'))).toBeUndefined();
  const waiting = stream.message(request('a'));
  let settledAt = 0;
  void (waiting as Promise<void>).then(() => {
    settledAt = writer.written.length;
  });
  await settled();
  expect(settledAt).toBe(0);
  open[0]!.resolve(published(1));
  await waiting;
  expect(sequences(writer)).toEqual([1]);
});

test('replies that the peer does not read hold up further ones', async () => {
  const { link, writer, stream } = begun();
  writer.room = 1;
  link.outcomes.push(Promise.resolve(published(1)), Promise.resolve(published(2)));
  void stream.message(request('a'));
  void stream.message(request('a'));
  await settled();
  expect(sequences(writer)).toEqual([1]);
  writer.makeRoom(5);
  await settled();
  expect(sequences(writer)).toEqual([1, 2]);
});

test('an illegal publication ends the stream with its index, after the replies before it', async () => {
  const { link, writer, stream, counters } = begun();
  const first = deferred<Published>();
  link.outcomes.push(first.promise);
  void stream.message(request('a'));
  void stream.message(request('b'));
  const failing = stream.message(request('b..c'));
  void stream.message(request('never'));
  await settled();
  expect(writer.error).toBeUndefined();
  first.resolve(published(1));
  await failing;
  expect(writer.written).toHaveLength(2);
  expect(writer.error).toMatchObject({
    code: Status.INVALID_ARGUMENT,
    message: expect.stringMatching(/^request 2: topic: token 2 of the topic is empty/),
  });
  expect(writer.error?.detail(BadRequest)?.fieldViolations).toMatchObject([
    { field: 'requests[2].topic' },
  ]);
  expect(writer.error?.detail(ErrorInfo)).toMatchObject({
    reason: 'PUBLISH_FAILED',
    metadata: new Map([['index', '2']]),
  });
  expect(link.published.map(({ event }) => event.topic)).toEqual(['a', 'b']);
  expect(counters).toMatchObject({ published: 2, publicationsFailed: 1 });
});

test('a backplane that fails ends the stream with the index of what it did not publish', async () => {
  const { link, writer, stream } = begun();
  const first = deferred<Published>();
  link.outcomes.push(
    first.promise,
    Promise.reject(new StatusError(Status.UNAVAILABLE, 'no broker')),
  );
  for (let count = 0; count < 3; count++) void stream.message(request('a'));
  first.resolve(published(1));
  await settled();
  expect(sequences(writer)).toEqual([1]);
  expect(writer.error).toMatchObject({
    code: Status.UNAVAILABLE,
    message: 'request 1: no broker',
  });
});

test('a subscriber under BLOCK holds up the topic, and lets go of it', async () => {
  const { link, writer, stream, counters } = begun();
  const blocked = deferred<void>();
  link.blocked.set('a', blocked.promise);
  const waiting = stream.message(request('a'));
  await settled();
  expect(link.published).toEqual([]);
  link.blocked.delete('a');
  blocked.resolve();
  await waiting;
  expect(sequences(writer)).toEqual([1]);
  expect(counters.publicationsBlocked).toBe(1);
});

test('a publisher that goes while it is held up publishes nothing', async () => {
  const { link, stream } = begun();
  link.blocked.set('a', new Promise(() => {}));
  const waiting = stream.message(request('a'));
  stream.closed();
  await waiting;
  expect(link.published).toEqual([]);
});

test('a drain ends the stream after the replies to what was published', async () => {
  const { link, writer, stream, publishing } = begun();
  const first = deferred<Published>();
  link.outcomes.push(first.promise);
  void stream.message(request('a'));
  publishing.stop(new StatusError(Status.UNAVAILABLE, 'closing'));
  void stream.message(request('a'));
  first.resolve(published(1));
  await settled();
  expect(sequences(writer)).toEqual([1]);
  expect(writer.error).toMatchObject({ code: Status.UNAVAILABLE, message: 'closing' });
  expect(() => publishing.open(fakeContext().ctx, writer)).toThrow('closing');
});
