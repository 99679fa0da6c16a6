import { type Client, connect } from 'millrace';
import { Orders } from './gen/shop/v1/orders.js';

export declare const id: string;
export declare const request: { readonly customer: string };
export declare function sleep(milliseconds: number): Promise<void>;
/** Of the service that the page is about. */
export const client: Client<typeof Orders> = connect(Orders, 'localhost:50051');
