import type { NativeTls } from '../bridge/native.js';
import type { LogLevel } from '../logging/logger.js';
import type { Endpoint } from './endpoint.js';
import type { ThreadOptions } from './options.js';
import type { ThreadStats } from './stats.js';
import type { CloseResult } from './thread.js';

/** Given to a worker when it starts. */
export interface WorkerSetup {
  readonly thread: number;
  readonly services: string;
  readonly logLevel: LogLevel;
  readonly options: ThreadOptions;
  readonly endpoint: Endpoint;
  readonly tls: NativeTls | undefined;
}

/** What the main thread asks; the answer has the same id. */
export type Asked = { readonly id: number } & (
  | { readonly kind: 'stats' }
  | { readonly kind: 'secure'; readonly tls: NativeTls }
  | { readonly kind: 'close'; readonly timeoutMs: number }
);

/** Why certificates cannot be used. */
export interface SecureFailure {
  readonly code: string | undefined;
  readonly message: string;
}

/** What a worker says. */
export type Said =
  | {
      readonly kind: 'listening';
      readonly port: number;
      readonly driver: string;
      readonly driverReason: string;
    }
  | { readonly kind: 'stats'; readonly id: number; readonly stats: ThreadStats }
  | { readonly kind: 'secured'; readonly id: number; readonly error: SecureFailure | undefined }
  | { readonly kind: 'closed'; readonly id: number; readonly result: CloseResult };
