// What a message costs in JavaScript alone: the dispatcher over a fake engine, so without sockets,
// HTTP/2 or crossings. `node framework/bench/micro.mjs` after a build; nanoseconds a message.

import { AsyncLocalStorage } from 'node:async_hooks';
import { pino } from 'pino';
import { Echo, EchoRequest } from '../../examples/echo/dist/gen/millrace/echo/v1/echo.js';
import { Engine } from '../dist/bridge/engine.js';
import { FakeNative } from '../dist/bridge/fake-native.js';
import { HeapWriter } from '../dist/codec/arena-writer.js';
import { service } from '../dist/index.js';
import { Dispatcher } from '../dist/server/dispatch.js';
import { routesOf } from '../dist/server/route.js';

const CALL = 1;
const REQUEST = 2;
const MESSAGE = 3;
const END = 4;

const echo = service(Echo, {
  async say(request) {
    return { text: request.text, data: request.data };
  },
  async collect(requests) {
    let count = 0n;
    for await (const _ of requests) count++;
    return { count };
  },
  async *expand(request) {
    for (let i = 0; i < request.count; i++) yield { text: request.text };
  },
  async *chat(requests) {
    for await (const request of requests) yield { text: request.text, data: request.data };
  },
  chatFast: {
    open(_ctx, writer) {
      return {
        message(request) {
          writer.write({ text: request.text, data: request.data });
        },
        end() {
          writer.end();
        },
      };
    },
  },
});

const writer = new HeapWriter();
writer.begin();
EchoRequest.encode(
  { text: 'a message of 64 bytes, as h2load sends it in our bench', data: new Uint8Array(0) },
  writer,
);
const payload = writer.copy();

const routes = routesOf([echo], []);
const logger = pino({ level: 'error' });
const dispatcher = new Dispatcher(routes, logger, 5000, () => {});
/** @type {any} */
let fake;
class Native extends FakeNative {
  constructor(options, callbacks) {
    super(options, callbacks, { calls: 1024, operations: 16384, arena: 4 << 20, records: 8192 });
    fake = this;
  }
}
const engine = new Engine(Native, { sendMessageBytes: 4 << 20 }, dispatcher);
dispatcher.attach(engine);
fake.keepsOperations = false;

const method = (name) => routes.findIndex((route) => route.name === name);
const turn = () => new Promise((resolve) => setImmediate(resolve));
const slot = fake.put(payload);
let generation = 0;

async function unary(batches, calls) {
  const say = method('Say');
  for (let batch = 0; batch < batches; batch++) {
    for (let index = 0; index < calls; index++) {
      fake.record(REQUEST, index | ((generation & 0xffff) << 16), { method: say, slot, flags: 4 });
    }
    generation++;
    fake.deliver();
    await null;
    // Replies come in microtasks, as they do behind a native callback scope.
    while (dispatcher.running > 0) await null;
    fake.flush();
  }
  return batches * calls;
}

async function stream(name, batches, calls, each) {
  const id = method(name);
  for (let index = 0; index < calls; index++) {
    fake.record(CALL, index | ((generation & 0xffff) << 16), { method: id });
  }
  for (let batch = 0; batch < batches; batch++) {
    for (let index = 0; index < calls; index++) {
      for (let message = 0; message < each; message++) {
        fake.record(MESSAGE, index | ((generation & 0xffff) << 16), { slot });
      }
    }
    fake.deliver();
    await turn();
    fake.flush();
  }
  for (let index = 0; index < calls; index++)
    fake.record(END, index | ((generation & 0xffff) << 16));
  fake.deliver();
  await turn();
  fake.flush();
  generation++;
  if (dispatcher.running !== 0) throw new Error(`${dispatcher.running} calls are left`);
  return batches * calls * each;
}

async function row(name, run) {
  await run();
  const figures = [];
  for (let round = 0; round < 5; round++) {
    // CPU time, not the clock's: others may use the machine.
    const before = process.cpuUsage();
    const messages = await run();
    const { user, system } = process.cpuUsage(before);
    figures.push(((user + system) * 1000) / messages);
  }
  figures.sort((a, b) => a - b);
  console.log(
    `${name.padEnd(44)} ${figures[2].toFixed(0).padStart(5)} ns   (${figures.map((f) => f.toFixed(0)).join(' ')})`,
  );
}

async function all() {
  await row('unary, async handler', () => unary(2000, 128));
  await row('chat (async generator), 8 streams × 128', () => stream('Chat', 300, 8, 128));
  await row('chat, 128 streams × 1', () => stream('Chat', 2000, 128, 1));
  await row('chatFast (callbacks), 8 streams × 128', () => stream('ChatFast', 500, 8, 128));
  await row('chatFast, 128 streams × 1', () => stream('ChatFast', 2000, 128, 1));
  await row('collect, 8 streams × 128', () => stream('Collect', 300, 8, 128));
}

await all();
if (process.argv.includes('--storage')) {
  const storage = new AsyncLocalStorage();
  storage.run(1, () => {});
  console.log('with an AsyncLocalStorage in use:');
  await all();
}
