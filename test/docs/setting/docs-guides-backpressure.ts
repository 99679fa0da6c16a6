import type { Order } from './gen/shop/v1/orders.js';

export declare function translate(text: string): Promise<string>;
export declare function latestOf(
  customer: string,
  signal: AbortSignal,
): { next(): Promise<Order | undefined> };
