import { spawnSync } from 'node:child_process';
import { defineConfig, type TestProjectConfiguration } from 'vitest/config';

/** Files that depend on no driver. */
const once: TestProjectConfiguration = {
  test: {
    name: 'structure',
    include: ['tidy/**/*.test.ts', 'support/**/*.test.ts'],
    testTimeout: 60_000,
  },
};

/** The command line, from outside. */
const commandLine: TestProjectConfiguration = {
  test: {
    name: 'cli',
    include: ['cli/**/*.test.ts'],
    globalSetup: ['support/build.ts'],
    testTimeout: 60_000,
    hookTimeout: 60_000,
  },
};

/** What the documents show. */
const documents: TestProjectConfiguration = {
  test: {
    name: 'docs',
    include: ['docs/**/*.test.ts'],
    globalSetup: ['support/build.ts'],
    testTimeout: 60_000,
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
      testTimeout: 60_000,
      hookTimeout: 60_000,
    },
  };
}

/** Why the bundle driver cannot run here, if it cannot: then its suite is left out, aloud. */
function bundleUnavailable(): string | undefined {
  const script = `
    import { NativeEngine } from '@millrace/native';
    const nothing = () => {};
    const callbacks = { onBatch: nothing, onRegion: nothing, onNotice: nothing };
    new NativeEngine({ driver: 'bundle' }, callbacks).close();`;
  const { status, stderr } = spawnSync(
    process.execPath,
    ['--input-type=module', '--eval', script],
    { encoding: 'utf8', cwd: import.meta.dirname },
  );
  if (status === 0 || !stderr.includes('MILLRACE_DRIVER_UNAVAILABLE')) return undefined;
  return /^Error: .*$/m.exec(stderr)?.[0] ?? 'the bundle driver is not available';
}

function drivers(): string[] {
  const forced = process.env['MILLRACE_DRIVER'];
  if (forced !== undefined) return [forced];
  const reason = bundleUnavailable();
  if (reason === undefined) return ['bundle', 'portable'];
  console.warn(`end to end on the portable driver only: ${reason}`);
  return ['portable'];
}

export default defineConfig({
  test: {
    projects: [once, documents, commandLine, ...drivers().map(endToEnd)],
    // Tests measure memory and time: one file at a time.
    fileParallelism: false,
  },
});
