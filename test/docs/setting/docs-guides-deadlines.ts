import type { Client } from 'millrace';
import type { Orders } from './gen/shop/v1/orders.js';

export declare const upstream: Client<typeof Orders>;
