import { encodeMetadata } from '../bridge/metadata-block.js';
import { checkEncoding, type Encoding } from '../context/compression.js';
import type { Context } from '../context/context.js';
import { Metadata, type MetadataInit } from '../context/metadata.js';
import { MillraceError } from '../errors.js';

/** What every method of a client takes beside its request. */
export interface CallOptions {
  /** Cancels the call when it aborts. */
  readonly signal?: AbortSignal | undefined;
  /** The call has to be over within so many milliseconds. Excludes `deadline`. */
  readonly timeoutMs?: number | undefined;
  /** The call has to be over by then. */
  readonly deadline?: Date | undefined;
  /** Sent with the request. */
  readonly metadata?: MetadataInit | undefined;
  /** How its requests are compressed. Default: as its client or connection says. */
  readonly compression?: Encoding | undefined;
  /** Waits for a connection instead of failing when there is none to be had. Default false. */
  readonly waitForReady?: boolean | undefined;
  /**
   * The context of the server's call on whose behalf this one is made: its deadline and its
   * cancellation are this call's too.
   */
  readonly parent?: Context | undefined;
}

const known = [
  'signal',
  'timeoutMs',
  'deadline',
  'metadata',
  'compression',
  'waitForReady',
  'parent',
];
const METADATA_BYTES_MOST = 256 * 1024;

/** Options as a call needs them. */
export interface CheckedCallOptions {
  /** As of performance.now(); 0: none. */
  readonly deadlineAt: number;
  readonly metadata: Metadata | undefined;
  /** The same as it crosses to native code. */
  readonly block: Uint8Array | undefined;
  /** Why the metadata cannot be sent: the call fails with it. */
  readonly refusal: unknown;
  readonly encoding: Encoding | undefined;
  readonly waitForReady: boolean | undefined;
  readonly signal: AbortSignal | undefined;
  readonly parentSignal: AbortSignal | undefined;
}

/** @throws MillraceError MILLRACE_OPTION_INVALID */
export function checkCallOptions(options: CallOptions): CheckedCallOptions {
  for (const name of Object.keys(options)) {
    if (!known.includes(name)) {
      invalid(`a call has no option "${name}"; it has ${known.join(', ')}`);
    }
  }
  const { signal, timeoutMs, deadline, metadata, compression, waitForReady, parent } = options;
  if (signal !== undefined && !(signal instanceof AbortSignal)) {
    invalid('signal is no AbortSignal');
  }
  if (waitForReady !== undefined && typeof waitForReady !== 'boolean') {
    invalid('waitForReady is neither true nor false');
  }
  let checked: Metadata | undefined;
  let block: Uint8Array | undefined;
  let refusal: unknown;
  try {
    checked = metadata === undefined ? undefined : Metadata.from(metadata);
    block = metadataBlock(checked);
  } catch (error) {
    refusal = error;
  }
  return {
    deadlineAt: earliest(ownDeadline(timeoutMs, deadline), ofDate(parent?.deadline)),
    metadata: checked,
    block,
    refusal,
    encoding: compression === undefined ? undefined : checkEncoding('compression', compression),
    waitForReady,
    signal,
    parentSignal: parent?.signal,
  };
}

/** The block of some metadata. @throws MillraceError MILLRACE_METADATA_INVALID beyond 256 KiB */
export function metadataBlock(metadata: Metadata | undefined): Uint8Array | undefined {
  if (metadata === undefined || metadata.size === 0) return undefined;
  const block = encodeMetadata(metadata);
  if (block.length > METADATA_BYTES_MOST) {
    throw new MillraceError(
      'MILLRACE_METADATA_INVALID',
      `the metadata has ${block.length} bytes, more than ${METADATA_BYTES_MOST}`,
    );
  }
  return block;
}

export function earliest(a: number, b: number): number {
  if (a === 0) return b;
  return b === 0 ? a : Math.min(a, b);
}

function ownDeadline(timeoutMs: number | undefined, deadline: Date | undefined): number {
  if (timeoutMs === undefined) {
    if (
      deadline !== undefined &&
      !(deadline instanceof Date && !Number.isNaN(deadline.getTime()))
    ) {
      invalid('deadline is no valid Date; for a time span there is timeoutMs');
    }
    return ofDate(deadline);
  }
  if (deadline !== undefined) invalid('timeoutMs and deadline exclude each other');
  if (typeof timeoutMs !== 'number' || !(timeoutMs >= 0)) {
    invalid(`timeoutMs is ${String(timeoutMs)}, but has to be 0 or more milliseconds`);
  }
  return timeoutMs === Number.POSITIVE_INFINITY ? 0 : performance.now() + timeoutMs;
}

function ofDate(date: Date | undefined): number {
  // Never 0, which says that there is none.
  return date === undefined ? 0 : performance.now() + (date.getTime() - Date.now()) || 1;
}

function invalid(what: string): never {
  throw new MillraceError('MILLRACE_OPTION_INVALID', what);
}
