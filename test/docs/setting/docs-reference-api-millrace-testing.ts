import type { TestServer } from 'millrace/testing';

export { settled, slowConsumer, startTest } from 'millrace/testing';

export declare const produced: number;
export declare const t: TestServer;
