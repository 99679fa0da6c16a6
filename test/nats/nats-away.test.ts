// Who has begun stays while NATS is away, for longer than calls wait that begin then.

import { once } from 'node:events';
import { type AddressInfo, connect, createServer } from 'node:net';
import { Status } from 'millrace';
import { describe, expect, onTestFinished, test } from 'vitest';
import { eventually } from '../support/eventually.js';
import { ever, failure, type Node } from '../support/nats-link.js';
import { natsServerInstalled } from '../support/nats-server.js';
import { natsSetting } from '../support/nats-setting.js';
import { numbers } from '../support/numbers.js';

const installed = natsServerInstalled('subscribers while NATS is away');
const decoder = new TextDecoder();
const WAIT_MS = 200;

describe.skipIf(!installed)('while NATS is away for longer than waitMs', () => {
  const nats = natsSetting();

  /** It is connected and its stream made, which may take longer than calls wait. */
  async function connected(): Promise<Node> {
    const node = nats.node({ waitMs: WAIT_MS });
    const published = () =>
      node.publish('ticks.x', '').then(
        () => true,
        () => false,
      );
    await eventually('a publication without a sequence', published);
    return node;
  }

  /** Away until a call that has begun meanwhile has given up waiting, twice. */
  async function away(from: Node): Promise<void> {
    await nats.server.kill();
    await from.log.has('NATS is not connected');
    for (let call = 0; call < 2; call++) {
      expect((await failure(from.publish('orders', 'lost'))).code).toBe(Status.UNAVAILABLE);
    }
    await nats.server.start();
  }

  test.each([
    ['has BLOCK', true],
    ['replays', false],
  ])('a subscriber that %s stays, and gets the next event', async (_what, blocking) => {
    const a = await connected();
    for (const each of numbers(1, 40)) await a.publish('orders', each);
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
    expect(texts).toEqual(numbers(1, 40));
    expect(a.link.stats()).toMatchObject({ replayMissed: 0, streamReplaced: 0 });
    await interest.replay!.return(undefined);
    interest.release();
  });

  test('one that waits for more ends with its call, not before', async () => {
    const a = await connected();
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
    await nats.server.kill();
    await a.log.has('NATS is not connected');
    await failure(a.publish('orders', 'lost'));
    await failure(a.publish('orders', 'lost'));
    expect(settled).toBe(false);
    call.abort();
    await expect(next).rejects.toThrow();
    await nats.server.start();
  });

  test('a failure that is not of the connection is not tried again, and the session stays', async () => {
    const a = await connected();
    await a.publish('orders', '1');
    a.failWith = new RangeError('a defect of this side');
    const options = { pattern: 'orders', group: 'g', start: undefined, blocking: false } as const;
    await expect(a.link.interest(options, ever)).rejects.toThrow('a defect of this side');
    a.failWith = undefined;
    expect(a.link.stats()).toMatchObject({ sessions: 1, connected: 1 });
    await expect(a.link.interest(options, ever)).resolves.toMatchObject({ start: undefined });
  });

  test('a link that is closed while it connects is over then', async () => {
    // Between them, to hold the first connection until it is no longer wanted.
    const relay = createServer((socket) => {
      void over.push(link.close());
      const [host, port] = nats.server.address.split(':');
      const further = connect(Number(port), host);
      // Either end may be reset when the link is closed.
      for (const end of [socket, further]) end.on('error', () => {});
      socket.pipe(further).pipe(socket);
    }).listen(0, '127.0.0.1');
    onTestFinished(() => void relay.close());
    const over: (void | Promise<void>)[] = [];
    await once(relay, 'listening');
    const { port } = relay.address() as AddressInfo;
    const { link } = nats.node({ servers: `127.0.0.1:${port}` });
    await once(relay, 'connection');
    await over[0];
  });
});
