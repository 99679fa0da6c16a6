/**
 * `millrace/testing`: services in the process of a test, with a client that is connected to them, a
 * clock that can be moved ahead, consumers that are slow on purpose, and a network that can be cut.
 * Knows no test runner.
 *
 * @packageDocumentation
 */

export { type SettledOptions, settled } from './settled.js';
export { type SlowConsumer, slowConsumer } from './slow-consumer.js';
export type { TestLink } from './test-link.js';
export { startTest, type TestOptions, type TestServer } from './test-server.js';
