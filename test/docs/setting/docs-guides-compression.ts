import type { Order } from './gen/shop/v1/orders.js';

export const text = 'text '.repeat(1000);
export const photos: readonly { readonly data: Uint8Array; readonly isJpeg: boolean }[] = [
  { data: new Uint8Array(10_000), isJpeg: true },
  { data: new Uint8Array(10_000), isJpeg: false },
];
export declare function ordersOf(request: { readonly customer: string }): AsyncIterable<Order>;
