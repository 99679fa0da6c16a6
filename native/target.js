// The name of a platform in file and package names: `linux-x64-gnu`, `darwin-arm64` …

import { closeSync, openSync, readSync } from 'node:fs';

/** The platform of this process. */
export function currentTarget() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform === 'linux') return `${base}-${usesMusl() ? 'musl' : 'gnu'}`;
  return process.platform === 'win32' ? `${base}-msvc` : base;
}

/**
 * Whether this Node.js runs on musl: the program names the loader that starts it. Its own report would
 * say so too, but takes milliseconds.
 */
function usesMusl() {
  const loader = /\/ld-(linux|musl)-/.exec(beginningOf(process.execPath))?.[1];
  return loader === undefined ? reportsNoGlibc() : loader === 'musl';
}

/** @param {string} file */
function beginningOf(file) {
  try {
    const descriptor = openSync(file, 'r');
    try {
      const bytes = Buffer.alloc(4096);
      return bytes.toString('latin1', 0, readSync(descriptor, bytes));
    } finally {
      closeSync(descriptor);
    }
  } catch {
    return '';
  }
}

function reportsNoGlibc() {
  const report = /** @type {NodeJS.ProcessReport & { excludeNetwork?: boolean }} */ (
    process.report
  );
  // Without this the report looks up the name of every peer of this process.
  const { excludeNetwork } = report;
  report.excludeNetwork = true;
  const { header } = /** @type {{ header: { glibcVersionRuntime?: string } }} */ (
    report.getReport()
  );
  report.excludeNetwork = excludeNetwork ?? false;
  return header.glibcVersionRuntime === undefined;
}
