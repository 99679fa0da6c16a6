import { afterEach, beforeEach, expect, test, vi } from 'vitest';
import { Balancer } from './balancer.js';
import type { LaneHost } from './lane.js';
import type { ConnectionEnd, ConnectionSink, ConnectionState } from './thread.js';

/** A host whose connections the test decides about. */
class Host implements LaneHost {
  readonly backoff = { initialMs: 1000, mostMs: 120_000 };
  readonly opened: { address: string; sink: ConnectionSink }[] = [];
  readonly shutDown: number[] = [];
  resolved = 0;
  pings = 0;
  balancer!: Balancer;

  open(address: string, sink: ConnectionSink): number {
    if (address === 'illegal') throw new Error('cannot be read');
    return this.opened.push({ address, sink }) - 1;
  }

  shut(connection: number): void {
    this.shutDown.push(connection);
  }

  laneChanged(): void {
    this.balancer.changed();
  }

  reresolve(): void {
    this.resolved++;
  }

  tooManyPings(): void {
    this.pings++;
  }

  addresses(): string[] {
    return this.opened.map(({ address }) => address);
  }

  /** By default the connection had answered a call. */
  say(index: number, state: ConnectionState, about: Partial<ConnectionEnd> = {}): void {
    this.opened[index]!.sink.connectionState(state, `${state} ${index}`, {
      tooManyPings: false,
      answered: true,
      ...about,
    });
  }
}

function balancer(name: 'pick_first' | 'round_robin', addresses: string[], connections = 1) {
  const host = new Host();
  host.balancer = new Balancer(host, name, connections);
  host.balancer.update(addresses);
  return host;
}

beforeEach(() => {
  vi.useFakeTimers();
});
afterEach(() => {
  vi.useRealTimers();
});

test('pick_first takes the first address that answers', () => {
  const host = balancer('pick_first', ['illegal', 'a', 'b']);
  expect(host.balancer.state).toBe('idle');
  host.balancer.connect();
  host.balancer.connect();
  expect([host.addresses(), host.balancer.state]).toEqual([['a'], 'connecting']);
  host.say(0, 'failed');
  expect(host.addresses()).toEqual(['a', 'b']);
  host.say(1, 'ready');
  expect(host.balancer.state).toBe('ready');
  expect(host.balancer.pick()?.connection).toBe(1);
});

test('after all have failed it waits, stays failed meanwhile, and begins with the first', () => {
  const host = balancer('pick_first', ['a', 'b']);
  host.balancer.connect();
  host.say(0, 'failed');
  host.say(1, 'failed');
  expect([host.balancer.state, host.balancer.failure, host.resolved]).toEqual([
    'transient-failure',
    'failed 1',
    1,
  ]);
  vi.advanceTimersByTime(799);
  expect(host.opened.length).toBe(2);
  vi.advanceTimersByTime(402);
  expect(host.addresses()).toEqual(['a', 'b', 'a']);
  expect(host.balancer.state).toBe('transient-failure');
  host.say(2, 'ready');
  expect(host.balancer.state).toBe('ready');
});

test('a lost connection makes pick_first idle and round_robin connect again', () => {
  const first = balancer('pick_first', ['a']);
  first.balancer.connect();
  first.say(0, 'ready');
  first.say(0, 'draining', { tooManyPings: true });
  expect([first.balancer.state, first.balancer.pick(), first.pings]).toEqual([
    'idle',
    undefined,
    1,
  ]);
  first.say(0, 'closed');
  expect(first.opened.length).toBe(1);

  const robin = balancer('round_robin', ['a']);
  robin.balancer.connect();
  robin.say(0, 'ready');
  robin.say(0, 'closed');
  expect(robin.addresses()).toEqual(['a', 'a']);
});

test('what an earlier connection says later is not heard', () => {
  const host = balancer('round_robin', ['a']);
  host.balancer.connect();
  host.say(0, 'ready');
  host.say(0, 'draining');
  host.say(1, 'ready');
  host.say(0, 'closed');
  expect(host.balancer.state).toBe('ready');
});

test('round_robin goes round those that are ready', () => {
  const host = balancer('round_robin', ['a', 'b', 'c', 'a']);
  host.balancer.connect();
  expect(host.addresses()).toEqual(['a', 'b', 'c']);
  host.say(0, 'ready');
  host.say(2, 'ready');
  const picks = () => Array.from({ length: 4 }, () => host.balancer.pick()?.address);
  expect(picks()).toEqual(['a', 'c', 'a', 'c']);
  host.say(1, 'ready');
  expect(new Set(picks())).toEqual(new Set(['a', 'b', 'c']));
});

test('new addresses: those that stay keep their connections, those that go are shut', () => {
  const host = balancer('round_robin', ['a', 'b']);
  host.balancer.connect();
  host.say(0, 'ready');
  host.say(1, 'ready');
  host.balancer.update(['b', 'c']);
  host.balancer.connect();
  expect(host.shutDown).toEqual([0]);
  expect(host.addresses()).toEqual(['a', 'b', 'c']);
  expect(host.balancer.pick()?.address).toBe('b');

  const first = balancer('pick_first', ['a', 'b']);
  first.balancer.connect();
  first.say(0, 'ready');
  first.balancer.update(['b', 'a']);
  expect(first.balancer.state).toBe('ready');
  first.balancer.update(['c']);
  expect([first.shutDown, first.balancer.state]).toEqual([[0], 'idle']);
});

test('several connections to one address', () => {
  const host = balancer('pick_first', ['a', 'b'], 3);
  host.balancer.connect();
  expect(host.addresses()).toEqual(['a', 'a', 'a']);
  for (const index of [0, 1, 2]) host.say(index, 'ready');
  expect(Array.from({ length: 3 }, () => host.balancer.pick()?.connection)).toEqual([0, 1, 2]);
});

test('a server that goes away with an error before the first call has failed', () => {
  const host = balancer('pick_first', ['a', 'b']);
  host.balancer.connect();
  host.say(0, 'ready');
  host.say(0, 'failed');
  expect(host.addresses()).toEqual(['a', 'b']);
  expect([host.balancer.state, host.balancer.pick()]).toEqual(['connecting', undefined]);
  host.say(1, 'ready');
  host.say(1, 'failed');
  expect(host.balancer.state).toBe('transient-failure');
  expect(host.balancer.failure).toBe('failed 1');
});

test.each(['draining', 'closed'] as const)(
  'a server that is gone each time (%s) is left alone for longer and longer',
  (gone) => {
    const random = vi.spyOn(Math, 'random').mockReturnValue(0.5);
    const host = balancer('round_robin', ['a']);
    host.balancer.connect();
    const lose = (index: number, about: Partial<ConnectionEnd> = { answered: false }) => {
      host.say(index, 'ready');
      host.say(index, gone, about);
      if (gone === 'draining') host.say(index, 'closed', about);
    };
    // A few times are bad luck.
    for (let index = 0; index < 4; index++) {
      lose(index);
      expect(host.opened.length).toBe(index + 2);
    }
    for (const [index, delay] of [1000, 1600, 2560, 4096].entries()) {
      lose(index + 4);
      expect([host.balancer.state, host.balancer.failure]).toEqual([
        'transient-failure',
        `${gone} ${index + 4}`,
      ]);
      vi.advanceTimersByTime(delay - 1);
      expect(host.opened.length).toBe(index + 5);
      vi.advanceTimersByTime(1);
      expect(host.opened.length).toBe(index + 6);
    }
    // A call was answered, or it lasted: all is forgotten.
    lose(8, { answered: true });
    lose(9);
    expect(host.opened.length).toBe(11);
    host.say(10, 'ready');
    vi.advanceTimersByTime(1000);
    host.say(10, 'closed', { answered: false });
    for (let index = 11; index < 15; index++) {
      lose(index);
      expect(host.opened.length).toBe(index + 2);
    }
    lose(15);
    expect(host.opened.length).toBe(16);
    random.mockRestore();
  },
);
