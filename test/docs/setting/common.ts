// What blocks of any page may use without declaring it.

import { connect, type Service, service } from 'millrace';
import { Echo } from './gen/millrace/echo/v1/echo.js';
import { Orders } from './gen/shop/v1/orders.js';

export type { ClientInterceptor, Context, Interceptor, Requests } from 'millrace';
export { connect, connection, Metadata, Status, StatusError, serve, service } from 'millrace';
export { z } from 'zod';
export { Echo, Orders };

/** Handlers of the service Echo that are not shown. */
export const echoHandlers = {
  async say(request: { text: string }) {
    return { text: request.text };
  },
  async collect() {
    return {};
  },
  async *expand() {},
  async *chat() {},
  async *chatFast() {},
};

export const echo: Service = service(Echo, {
  async say(request) {
    return { text: request.text };
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
    for await (const request of requests) yield { text: request.text };
  },
  async *chatFast(requests) {
    for await (const request of requests) yield { text: request.text };
  },
});

/** Handlers of the service Orders that are not shown. */
export const ordersHandlers = {
  async get({ id }: { id: string }) {
    return { id };
  },
  async find() {
    return {};
  },
  async *list() {},
  async *watch() {},
  async export() {
    return {};
  },
  async import() {
    return {};
  },
};

export const orders: Service = service(Orders, { ...ordersHandlers });

/** Where a server of them is while a block runs. */
export const target: string = process.env['DOCS_TARGET'] ?? 'localhost:50051';

export const client = connect(Echo, target);
