import { setImmediate as turn } from 'node:timers/promises';
import { expect, test } from 'vitest';
import { FakeNative } from '../bridge/fake-native.js';
import type { NativeCallbacks, NativeEngineConstructor } from '../bridge/native.js';
import { Channel } from './channel.js';
import { checkConnectionOptions } from './options.js';
import { parseTarget } from './target.js';
import { ClientThread } from './thread.js';

test('a call is not launched on a connection that is gone again when it hears of it', async () => {
  let native!: Native;
  class Native extends FakeNative {
    readonly opened: string[] = [];
    constructor(options: object, callbacks: NativeCallbacks) {
      super(options, callbacks);
      native = this;
    }
    open({ address }: { address: string }): number {
      return this.opened.push(address) - 1;
    }
    shut(): void {}
    say(connection: number, state: string): void {
      const notice = { level: 'debug', event: 'connection_state', message: '', connection, state };
      this.callbacks.onNotice(JSON.stringify(notice));
    }
  }
  const options = checkConnectionOptions({});
  const load = async () => Native as unknown as NativeEngineConstructor;
  const channel = new Channel(
    ClientThread.over(load, options.engine),
    parseTarget('ipv4:127.0.0.1:1,127.0.0.1:2'),
    options,
  );
  const launched: number[] = [];
  channel.submit({
    waitForReady: false,
    over: false,
    launch: (connection) => launched.push(connection),
    unavailable: (message) => expect.unreachable(message),
    waiting: () => {},
  });
  await turn();
  expect(native.opened).toEqual(['127.0.0.1:1']);
  // In the notices of one batch.
  native.say(0, 'ready');
  native.say(0, 'draining');
  await turn();
  expect(launched).toEqual([]);
  expect(native.opened.length).toBe(2);
  native.say(1, 'ready');
  await turn();
  expect(launched).toEqual([1]);
  for (const connection of [0, 1]) native.say(connection, 'closed');
});
