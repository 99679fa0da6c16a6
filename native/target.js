// The name of a platform in file and package names: `linux-x64-gnu`, `darwin-arm64` …

/** The platform of this process. */
export function currentTarget() {
  const base = `${process.platform}-${process.arch}`;
  if (process.platform === 'linux') return `${base}-${usesMusl() ? 'musl' : 'gnu'}`;
  return process.platform === 'win32' ? `${base}-msvc` : base;
}

/** Whether this Node.js runs on musl: its own report names the glibc it runs on, if any. */
function usesMusl() {
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
