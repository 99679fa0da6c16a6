export * from './runtime.js';
export * from './well-known.gen.js';
export * from './well-known.js';
