import { defineConfig } from 'vitest/config';

// Child processes and workers start slowly on a busy machine.
export default defineConfig({ test: { include: ['test/**/*.test.ts'], testTimeout: 30_000 } });
