// Servers for `millrace call` and `millrace list`, in the process of the test.

import { execFileSync } from 'node:child_process';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { reflection } from '@millrace/reflection';
import {
  type AttachedServices,
  attach,
  type Context,
  type ServeOptions,
  type Server,
  type ServiceDescriptor,
  type Status,
  StatusError,
  serve,
  service,
} from 'millrace';
import { packAny } from 'millrace/codec';
import { binary } from '../support/cli.js';

export const protos = fileURLToPath(new URL('./protos', import.meta.url));
/** In this package, from where modules find `millrace/codec`; git ignores it. */
const out = fileURLToPath(new URL('../dist/cli-gen', import.meta.url));

execFileSync(process.execPath, [binary, 'generate', '--proto', protos, '--out', out]);
const generated = (name: string) => import(/* @vite-ignore */ join(out, `shop/v1/${name}.ts`));
const { Orders } = (await generated('orders')) as { Orders: ServiceDescriptor };
const { Archive } = (await generated('legacy')) as { Archive: ServiceDescriptor };
export const { Receipt, moneyFile } = await generated('money');

type Message = Record<string, unknown>;

/** What the handlers saw of their last call. */
export const seen: { metadata: [string, unknown][]; cancelled: number; sent: number } = {
  metadata: [],
  cancelled: 0,
  sent: 0,
};

export const orders = service(Orders, {
  async get(order: Message) {
    return order;
  },
  async fail({ code, message, detail }: Message) {
    throw new StatusError(code as Status, message as string, {
      details: detail === undefined ? [] : [detail as never],
    });
  },
  async wait(_: Message, ctx: Context) {
    await new Promise((resolve) => ctx.signal.addEventListener('abort', resolve));
    seen.cancelled++;
    return {};
  },
  async *count({ count, bytes }: Message) {
    seen.sent = 0;
    for (let number = 1; number <= (count as number); number++) {
      yield { number, payload: new Uint8Array(bytes as number) };
      seen.sent = number;
    }
  },
  async sum(requests: AsyncIterable<Message>) {
    let number = 0;
    for await (const request of requests) number += request['number'] as number;
    return { number };
  },
  async *exchange(requests: AsyncIterable<Message>) {
    for await (const { number } of requests) yield { number: (number as number) + 1 };
  },
  async metadata(_: Message, ctx: Context) {
    seen.metadata = [...ctx.metadata];
    ctx.sendHeaders({ 'x-header': 'first' });
    ctx.trailers.append('x-trailer-bin', new Uint8Array([1, 2]));
    return {};
  },
} as never);

export const archive = service(Archive, { keep: async (legacy: Message) => legacy } as never);

/** An Any with a type that the contract of the service does not import. */
export const receipt = () => packAny(Receipt, { total: { currency: 'EUR', units: 5n } });

/** Everything, with both versions of reflection. */
export function startShop(options: Partial<ServeOptions> = {}): Promise<Server> {
  return start([orders, archive, reflection({ files: [moneyFile] })], options);
}

/** With reflection as servers had it before there was v1. */
export function startOldShop(): Promise<Server> {
  const old: AttachedServices = {
    [attach]: (host) =>
      [...reflection()[attach](host)].filter(({ typeName }) => typeName.includes('v1alpha')),
  };
  return start([orders, old]);
}

/** Without reflection. */
export function startSilentShop(): Promise<Server> {
  return start([orders]);
}

function start(services: readonly unknown[], options: Partial<ServeOptions> = {}): Promise<Server> {
  return serve({
    services: services as ServeOptions['services'],
    host: '127.0.0.1',
    port: 0,
    log: { level: 'silent' },
    ...options,
  } as ServeOptions);
}
