import { spawnSync } from 'node:child_process';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';
import { patience } from './support/patience.js';

/** Files that depend on no driver. */
const once: TestProjectConfiguration = {
  test: {
    name: 'structure',
    include: ['tidy/**/*.test.ts', 'support/**/*.test.ts'],
    testTimeout: patience(60_000),
  },
};

/** The command line, from outside. */
const commandLine: TestProjectConfiguration = {
  test: {
    name: 'cli',
    include: ['cli/**/*.test.ts'],
    globalSetup: ['support/build.ts'],
    testTimeout: patience(60_000),
    hookTimeout: patience(60_000),
  },
};

/** What the documents show. */
const documents: TestProjectConfiguration = {
  test: {
    name: 'docs',
    include: ['docs/**/*.test.ts'],
    globalSetup: ['support/build.ts'],
    testTimeout: patience(60_000),
  },
};

/** Pub/sub over NATS, on the driver that is chosen here. */
const overNats: TestProjectConfiguration = {
  test: {
    name: 'nats',
    include: ['nats/**/*.test.ts'],
    globalSetup: ['support/build.ts'],
    testTimeout: patience(60_000),
    hookTimeout: patience(60_000),
  },
};

/** The whole from outside, on one driver. */
function endToEnd(driver: string): TestProjectConfiguration {
  return {
    test: {
      name: driver,
      include: ['e2e/**/*.test.ts'],
      env: { MILLRACE_DRIVER: driver },
      globalSetup: ['support/build.ts'],
      testTimeout: patience(60_000),
      hookTimeout: patience(60_000),
    },
  };
}

/** Which drivers of io_uring cannot run here, and why: their suites are left out, aloud. */
function unavailable(): Map<string, string> {
  const script = `
    import { NativeEngine } from '@millrace/native';
    const nothing = () => {};
    const callbacks = { onBatch: nothing, onRegion: nothing, onNotice: nothing };
    for (const driver of ['bundle', 'ring', 'classic']) {
      try {
        new NativeEngine({ driver }, callbacks).close();
      } catch (error) {
        if (error.code === 'MILLRACE_DRIVER_UNAVAILABLE') console.log(driver, error.message);
      }
    }`;
  const { stdout } = spawnSync(process.execPath, ['--input-type=module', '--eval', script], {
    encoding: 'utf8',
    cwd: import.meta.dirname,
  });
  const lines = stdout.matchAll(/^(\w+) (.+)$/gm);
  return new Map(Array.from(lines, ([, driver, reason]) => [driver ?? '', reason ?? '']));
}

function drivers(): string[] {
  const forced = process.env['MILLRACE_DRIVER'];
  if (forced !== undefined) return [forced];
  const left = unavailable();
  for (const reason of left.values()) console.warn(`left out end to end: ${reason}`);
  return ['bundle', 'ring', 'classic', 'portable'].filter((driver) => !left.has(driver));
}

export default defineConfig({
  test: {
    projects: [once, documents, commandLine, overNats, ...drivers().map(endToEnd)],
    // Tests measure memory and time: one file at a time.
    fileParallelism: false,
  },
});
