// The guide's tests run in test/e2e/testing.test.ts, which compares them with the page.
export { settled, slowConsumer, startTest } from 'millrace/testing';
export { expect, test } from 'vitest';

/** Resolves when the handler of the next call runs. */
export declare function handlerStarts(): Promise<void>;
export declare const seen: { readonly produced: number; readonly consumed: number };
