// Pressure passes through a relay: A → relay → C, all Millrace. A and C are here, so that what is on its way
// between them can be counted at any moment; the relay is a process of its own, so that its memory can be.

import { setImmediate as turn } from 'node:timers/promises';
import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import fc from 'fast-check';
import { type Limits, type Service, serve, service } from 'millrace';
import { expect, onTestFinished, test } from 'vitest';
import { Content } from '../support/content.js';
import { eventually } from '../support/eventually.js';
import { type OurClient, ourConnection } from '../support/our-client.js';
import { patience } from '../support/patience.js';
import { MIB } from '../support/probes.js';
import { startRelay } from '../support/relay.js';
import { type Random, random, seedForTest } from '../support/seed.js';
import { startServer, type TestServer } from '../support/server.js';
import { gauges } from '../support/stats.js';

const content = new Content(7);

interface Message {
  readonly text: string;
  readonly data: Uint8Array;
}

/** The limits that decide how much of a stream may be under way. */
interface Windows {
  readonly ringBuffers: number;
  readonly ringBufferBytes: number;
  readonly streamWindowBytes: number;
  readonly streamWindowBytesMax: number;
  readonly streamUnsentBytes: number;
}

function windows(choose: Random): Windows {
  const streamWindowBytes = choose.pick([1024, 5000, 16_384, 65_536]);
  return {
    ringBuffers: choose.pick([16, 16, 64, 1024]),
    ringBufferBytes: choose.pick([1024, 4096, 16_384]),
    streamWindowBytes,
    streamWindowBytesMax: streamWindowBytes * choose.pick([1, 4]),
    streamUnsentBytes: choose.pick([1024, 10_000, 65_536]),
  };
}

/** Lets messages through one by one, as far as it is open. */
class Valve {
  #permits = 0;
  #waiting: (() => void)[] = [];

  async pass(): Promise<void> {
    if (this.#permits === 0) await new Promise<void>((resolve) => this.#waiting.push(resolve));
    else this.#permits--;
  }

  open(permits: number): void {
    this.#permits += permits;
    while (this.#permits > 0 && this.#waiting.length > 0) {
      this.#permits--;
      this.#waiting.shift()!();
    }
  }
}

/** One stream: what has been given to its sender, and what its last reader has taken. */
class Flow {
  readonly name: string;
  readonly lengths: readonly number[];
  readonly valve = new Valve();
  sent = 0;
  sentBytes = 0;
  read = 0;
  readBytes = 0;
  /** Highest of what was under way. */
  highest = 0;

  constructor(name: string, lengths: readonly number[]) {
    this.name = name;
    this.lengths = lengths;
  }

  *messages(): Generator<Message> {
    for (const length of this.lengths) {
      const message = {
        text: `${this.name}/${this.sent}`,
        data: content.bytes(`${this.name}/${this.sent}`, length),
      };
      this.sent++;
      this.sentBytes += length;
      this.highest = Math.max(this.highest, this.sentBytes - this.readBytes);
      yield message;
    }
  }

  /** Takes what comes, no faster than the valve lets it: all of it, once, in order. */
  async *drain(messages: AsyncIterable<Message>): AsyncGenerator<Message> {
    for await (const message of messages) {
      await this.valve.pass();
      const key = `${this.name}/${this.read}`;
      expect(message.text).toBe(key);
      const length = this.lengths[this.read]!;
      expect(content.matches(key, length, message.data), `${key} of ${length} bytes`).toBe(true);
      this.read++;
      this.readBytes += length;
      yield message;
    }
  }

  get isRead(): boolean {
    return this.read === this.lengths.length;
  }
}

/** C: its flows are named by the request metadata `mode`, which the relay hands on. */
function lastServer(flows: ReadonlyMap<string, Flow>): Service {
  const flowOf = (mode: unknown) => flows.get(String(mode))!;
  return service(Echo, {
    say: (request) => request,
    async collect(requests, ctx) {
      let count = 0;
      let bytes = 0;
      for await (const { data } of flowOf(ctx.metadata.get('mode')).drain(requests)) {
        count++;
        bytes += data.length;
      }
      return { count, bytes };
    },
    async *expand(_request, ctx) {
      yield* flowOf(ctx.metadata.get('mode')).messages();
    },
    async *chat(requests, ctx) {
      for await (const { text } of flowOf(ctx.metadata.get('mode')).drain(requests)) yield { text };
    },
    async *chatFast(requests) {
      for await (const { text } of requests) yield { text };
    },
  });
}

interface Chain {
  readonly client: OurClient;
  readonly relay: TestServer;
  readonly flows: Map<string, Flow>;
  /** What may be under way of one stream, of messages of at most so many bytes. */
  bound(messageBytes: number): number;
  /** Ends the connections of A and the relay to each other and to C. */
  end(): Promise<void>;
}

async function chain(choose: Random, limits: Windows[], slowLinks: boolean): Promise<Chain> {
  const [ofClient, ofRelay, ofRelayClient, ofServer] = limits as [
    Windows,
    Windows,
    Windows,
    Windows,
  ];
  const flows = new Map<string, Flow>();
  const last = await serve({
    services: [lastServer(flows)],
    port: 0,
    signals: false,
    log: { level: 'silent' },
    limits: { ...ofServer } as Partial<Limits>,
  });
  // Behind small socket buffers, some of the time.
  const through = async (port: number) =>
    slowLinks && choose() < 0.3 ? startRelay(port) : Promise.resolve(port);
  const relay = await startServer({
    // Its memory is what its windows let it hold, not what the collector has left for later.
    nodeArguments: ['--max-semi-space-size=4'],
    limits: { ...ofRelay },
    logLevel: 'warn',
    forwardTo: {
      target: `127.0.0.1:${await through(last.port)}`,
      limits: { ...ofRelayClient },
    },
  });
  const { client, connection } = ourConnection(`127.0.0.1:${await through(relay.port)}`, {
    limits: { ...ofClient },
  });
  return {
    client,
    relay,
    flows,
    bound(messageBytes) {
      // Each of the four ends holds its window, or its mark, and is over it by a message at most; and
      // messages are in the hands of A's source, the relay's two loops and C's handler.
      const marks = ofClient.streamUnsentBytes + ofRelayClient.streamUnsentBytes;
      const back = ofRelay.streamUnsentBytes + ofServer.streamUnsentBytes;
      const own = ofRelay.streamWindowBytesMax + ofServer.streamWindowBytesMax;
      const others = ofClient.streamWindowBytesMax + ofRelayClient.streamWindowBytesMax;
      return Math.max(marks + own, back + others) + 8 * (messageBytes + 40);
    },
    async end() {
      await connection.close();
      const { aborted } = await last.close();
      expect(aborted).toBe(0);
    },
  };
}

/** Starts a stream of some kind; resolves when it has come to its end. */
async function run(kind: string, client: OurClient, flow: Flow): Promise<void> {
  const options = { metadata: { mode: flow.name }, timeoutMs: 60_000 };
  const total = flow.lengths.reduce((sum, length) => sum + length, 0);
  switch (kind) {
    case 'collect': {
      const { count, bytes } = await client.collect(flow.messages(), options);
      expect([count, bytes]).toEqual([BigInt(flow.lengths.length), BigInt(total)]);
      break;
    }
    case 'expand':
      for await (const _ of flow.drain(client.expand({}, options)));
      break;
    default: {
      let index = 0;
      for await (const { text } of client.chat(flow.messages(), options)) {
        expect(text).toBe(`${flow.name}/${index++}`);
      }
      expect(index).toBe(flow.lengths.length);
    }
  }
  expect(flow.isRead).toBe(true);
}

/** Opens the valves by fits and starts until everything is read. */
async function drive(flows: readonly Flow[], choose: Random, over: () => boolean): Promise<void> {
  while (!over()) {
    const flow = choose.pick(flows);
    flow.valve.open(choose.pick([1, 1, 2, 5, 30]));
    // How far the others get meanwhile is chance: from a turn of the loop to a standstill.
    for (let turns = choose.pick([0, 1, 3, 20, 200]); turns > 0; turns--) await turn();
  }
}

async function relayed(value: number): Promise<void> {
  const choose = random(value);
  const limits = Array.from({ length: 4 }, () => windows(choose));
  const { client, relay, flows, bound, end } = await chain(choose, limits, true);
  const start = gauges(await relay.stats());
  const messageBytes = choose.pick([100, 3000, 20_000, 100_000]);
  const streams = Array.from({ length: choose.between(1, 4) }, (_, index) => {
    const lengths = Array.from({ length: choose.between(1, 60) }, () =>
      choose.between(0, choose.pick([10, messageBytes, messageBytes])),
    );
    const flow = new Flow(`${value}.${index}`, lengths);
    flows.set(flow.name, flow);
    return { flow, kind: choose.pick(['collect', 'expand', 'chat']) };
  });
  let over = false;
  const running = Promise.all(streams.map(({ flow, kind }) => run(kind, client, flow))).finally(
    () => {
      over = true;
    },
  );
  await Promise.all([
    running,
    drive(
      streams.map(({ flow }) => flow),
      choose,
      () => over,
    ),
  ]);
  for (const { flow, kind } of streams) {
    expect(flow.highest, `${kind} ${flow.name} under way`).toBeLessThanOrEqual(bound(messageBytes));
  }
  await end();
  await eventually(
    'the relay is back where it started',
    async () => {
      const { callsUnderWay, callsWaiting, bufferedBytes, engine } = await relay.forwarding();
      const { activeCalls, waitingMessages, overflowBytes, unsentBytes, ringHeld, sendChunks } =
        engine as Record<string, number>;
      const mine = [callsUnderWay, callsWaiting, bufferedBytes, activeCalls, waitingMessages];
      const native = [overflowBytes, unsentBytes, ringHeld, sendChunks];
      return { relay: gauges(await relay.stats()), client: [...mine, ...native] };
    },
    (now) =>
      JSON.stringify(now.relay) === JSON.stringify(start) && now.client.every((one) => one === 0),
  );
  relay.signal('SIGKILL');
  await relay.exited;
}

test('whatever the timing and the windows, all arrives once and in order, and little is under way', {
  timeout: patience(120_000),
}, async () => {
  await fc.assert(
    fc.asyncProperty(fc.integer(), (value) => relayed(value)),
    { seed: seedForTest(), numRuns: 15, endOnFailure: true },
  );
});

test.each(['collect', 'expand', 'chat'])(
  'a long stream (%s) costs the relay no more memory than its windows',
  async (kind) => {
    const limits = windows(random(1));
    const usual = { ...limits, ringBuffers: 1024, ringBufferBytes: 16_384 };
    const wide = { ...usual, streamWindowBytes: 65_536, streamWindowBytesMax: 262_144 };
    const whole = { ...wide, streamUnsentBytes: 262_144 };
    const { client, relay, flows, bound, end } = await chain(
      random(1),
      [whole, whole, whole, whole],
      false,
    );
    const flow = new Flow(
      'long',
      Array.from({ length: 3000 }, (_, index) => 60_000 + (index % 7)),
    );
    flows.set(flow.name, flow);
    let over = false;
    const running = run(kind, client, flow).finally(() => {
      over = true;
    });
    onTestFinished(() => running.catch(() => {}));
    flow.valve.open(300);
    await eventually('a beginning', () => flow.read === 300);
    const warm = relay.residentBytes();
    // Its sender stands still while the last reader does.
    let before = -1;
    const stalled = await eventually(
      'a standstill',
      async () => {
        before = flow.sent;
        for (let turns = 0; turns < 500; turns++) await turn();
        return flow.sent;
      },
      (sent) => sent === before,
    );
    expect(stalled * 60_000 - flow.readBytes).toBeLessThan(bound(60_006));
    let highest = 0;
    while (!over) {
      flow.valve.open(50);
      await turn();
      highest = Math.max(highest, relay.residentBytes());
    }
    await running;
    expect(flow.highest).toBeLessThan(bound(60_006));
    // 180 MB have passed.
    expect(highest - warm).toBeLessThan(40 * MIB);
    await end();
  },
  patience(60_000),
);
