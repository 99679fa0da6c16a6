import { once } from 'node:events';
import { readFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { release } from 'node:os';
import { loadNative, type NativeEngineConstructor } from '../../bridge/native.js';

/** What was found on this machine, for this process; `undefined` where it cannot be told. */
export interface Facts {
  readonly node: string;
  readonly platform: NodeJS.Platform;
  readonly arch: string;
  /** Of the kernel. */
  readonly release: string;
  readonly native: { readonly file: string } | { readonly failure: string };
  /** The driver that would run, or why none does; absent without the native module. */
  readonly driver?: DriverFact;
  /** What the kernel has of io_uring: the drivers of it, the best first; absent without the native module. */
  readonly features?: readonly FeatureFact[];
  /** What MILLRACE_DRIVER says, or `auto`. */
  readonly driverAsked: string;
  /** The sysctl kernel.io_uring_disabled. */
  readonly ioUringDisabled: number | undefined;
  /** The mode of seccomp: 0 none, 1 strict, 2 a filter. */
  readonly seccomp: number | undefined;
  /** RLIMIT_MEMLOCK in bytes, Infinity for no limit. */
  readonly memlockBytes: number | undefined;
  /** RLIMIT_NOFILE, Infinity for no limit. */
  readonly openFiles: number | undefined;
  /** The sysctl net.core.somaxconn. */
  readonly backlog: number | undefined;
  readonly port: PortFact;
}

export type DriverFact =
  | { readonly name: string; readonly reason: string }
  | { readonly failure: string };

/** A driver by its name, and why it does not run here. */
export interface FeatureFact {
  readonly driver: string;
  readonly failure: string | undefined;
}

export interface PortFact {
  readonly host: string;
  readonly port: number;
  /** The code of the error with which listening failed: EADDRINUSE, EACCES, … */
  readonly failure: string | undefined;
}

export async function gatherFacts(host: string, port: number): Promise<Facts> {
  const driverAsked = process.env['MILLRACE_DRIVER'] || 'auto';
  return {
    node: process.versions.node,
    platform: process.platform,
    arch: process.arch,
    release: release(),
    ...(await nativeFacts(driverAsked)),
    driverAsked,
    ioUringDisabled: numberIn('/proc/sys/kernel/io_uring_disabled', /^(\d+)/),
    seccomp: numberIn('/proc/self/status', /^Seccomp:\s*(\d+)/m),
    memlockBytes: limit('Max locked memory'),
    openFiles: limit('Max open files'),
    backlog: numberIn('/proc/sys/net/core/somaxconn', /^(\d+)/),
    port: { host, port, failure: await listenFailure(host, port) },
  };
}

/** Loads the native module and makes an engine, as `serve` would. */
async function nativeFacts(driver: string): Promise<Pick<Facts, 'native' | 'driver' | 'features'>> {
  let Native: NativeEngineConstructor;
  try {
    Native = await loadNative();
  } catch (error) {
    return { native: { failure: messageOf(error) } };
  }
  const features = URING_DRIVERS.map((name) => {
    const made = driverFact(Native, name);
    return { driver: name, failure: 'failure' in made ? made.failure : undefined };
  });
  return { native: { file: loadedFile() }, driver: driverFact(Native, driver), features };
}

/** Each needs more of the kernel than the next. */
const URING_DRIVERS = ['bundle', 'ring', 'classic'] as const;

function driverFact(Native: NativeEngineConstructor, driver: string): DriverFact {
  const nothing = () => {};
  try {
    const engine = new Native(
      { driver },
      { onBatch: nothing, onRegion: nothing, onNotice: nothing },
    );
    const { driver: name, driverReason: reason } = engine;
    engine.close();
    return { name, reason };
  } catch (error) {
    return { failure: messageOf(error) };
  }
}

/** The native module among the files that this process has loaded, which Node's own report lists. */
function loadedFile(): string {
  const report = process.report as NodeJS.ProcessReport & { excludeNetwork?: boolean };
  // Without this the report looks up the name of every peer of this process.
  report.excludeNetwork = true;
  const { sharedObjects } = report.getReport() as { sharedObjects?: string[] };
  return sharedObjects?.find((file) => /millrace[^/\\]*\.node$/.test(file)) ?? 'loaded';
}

function messageOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

/** The soft limit of this process. */
function limit(name: string): number | undefined {
  const [, soft] = new RegExp(`^${name}\\s+(\\S+)`, 'm').exec(text('/proc/self/limits')) ?? [];
  if (soft === 'unlimited') return Number.POSITIVE_INFINITY;
  return soft === undefined ? undefined : Number(soft);
}

function numberIn(file: string, pattern: RegExp): number | undefined {
  const [, digits] = pattern.exec(text(file)) ?? [];
  return digits === undefined ? undefined : Number(digits);
}

/** Empty where there is no such file, as outside of Linux. */
function text(file: string): string {
  try {
    return readFileSync(file, 'utf8');
  } catch {
    return '';
  }
}

async function listenFailure(host: string, port: number): Promise<string | undefined> {
  const server = createServer();
  try {
    server.listen({ host, port, exclusive: true });
    await once(server, 'listening');
    return undefined;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code ?? messageOf(error);
  } finally {
    server.close();
  }
}
