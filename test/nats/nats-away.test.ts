// Who has begun stays while NATS is away, for longer than calls wait that begin then.

import { randomBytes } from 'node:crypto';
import { Status } from 'millrace';
import { afterAll, afterEach, beforeAll, describe, expect, test } from 'vitest';
import { closeNodes, ever, failure, Node } from '../support/nats-link.js';
import { NatsServer, natsServerInstalled } from '../support/nats-server.js';

const installed = natsServerInstalled('subscribers while NATS is away');
const decoder = new TextDecoder();
const WAIT_MS = 200;

describe.skipIf(!installed)('while NATS is away for longer than waitMs', () => {
  let server: NatsServer;
  let space = '';

  beforeAll(async () => {
    server = await NatsServer.start();
  });
  afterEach(closeNodes);
  afterAll(async () => {
    await server?.stop();
  });

  const node = () => {
    space = `away-${randomBytes(6).toString('hex')}`;
    return new Node(server, space, { waitMs: WAIT_MS });
  };

  /** Away until a call that has begun meanwhile has given up waiting, twice. */
  async function away(from: Node): Promise<void> {
    await server.kill();
    await from.log.has('NATS is not connected');
    for (let call = 0; call < 2; call++) {
      expect((await failure(from.publish('orders', 'lost'))).code).toBe(Status.UNAVAILABLE);
    }
    await server.start();
  }

  test.each([
    ['has BLOCK', true],
    ['replays', false],
  ])('a subscriber that %s stays, and gets the next event', async (_what, blocking) => {
    const a = node();
    for (let index = 1; index <= 40; index++) await a.publish('orders', String(index));
    const interest = await a.link.interest(
      { pattern: 'orders', group: '', start: { sequence: 1n }, blocking },
      ever,
    );
    const texts: string[] = [];
    const take = async (count: number) => {
      while (texts.length < count) {
        const { done, value } = await interest.replay!.next();
        if (done === true) throw new Error('the replay has ended');
        texts.push(decoder.decode(value.payload));
      }
    };
    await take(10);
    await away(a);
    await take(40);
    expect(texts).toEqual(Array.from({ length: 40 }, (_, index) => String(index + 1)));
    expect(a.link.stats()).toMatchObject({ replayMissed: 0, streamReplaced: 0 });
    await interest.replay!.return(undefined);
    interest.release();
  });

  test('one that waits for more ends with its call, not before', async () => {
    const a = node();
    const call = new AbortController();
    const { replay } = await a.link.interest(
      { pattern: 'orders', group: '', start: undefined, blocking: true },
      () => call.signal,
    );
    const next = replay!.next();
    let settled = false;
    next.then(
      () => {
        settled = true;
      },
      () => {
        settled = true;
      },
    );
    await server.kill();
    await a.log.has('NATS is not connected');
    await failure(a.publish('orders', 'lost'));
    await failure(a.publish('orders', 'lost'));
    expect(settled).toBe(false);
    call.abort();
    await expect(next).rejects.toThrow();
    await server.start();
  });

  test('a failure that is not of the connection is not tried again, and the session stays', async () => {
    const a = node();
    await a.publish('orders', '1');
    a.failWith = new RangeError('a defect of this side');
    const options = { pattern: 'orders', group: 'g', start: undefined, blocking: false } as const;
    await expect(a.link.interest(options, ever)).rejects.toThrow('a defect of this side');
    a.failWith = undefined;
    expect(a.link.stats()).toMatchObject({ sessions: 1, connected: 1 });
    await expect(a.link.interest(options, ever)).resolves.toMatchObject({ start: undefined });
  });
});
