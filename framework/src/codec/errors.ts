/**
 * The base of the three errors of a codec. `path` names the field from the message given to the
 * outermost call: `items[3].count`; it is empty when the message itself is at fault.
 */
export abstract class CodecError extends Error {
  /** Stable: what programs may compare. */
  abstract readonly code: string;
  /** The field at fault, from the outermost message: `items[3].count`. */
  path: string;
  /** What is wrong there, without the path. */
  readonly reason: string;

  constructor(reason: string, root: string, path: string, cause?: unknown) {
    super(describe(reason, root, path), cause === undefined ? undefined : { cause });
    this.reason = reason;
    this.path = path;
  }

  /** Puts `step` in front of the path, as the error leaves the message of type `root`. */
  within(root: string, step: string): this {
    this.path = joinPath(step, this.path);
    this.message = describe(this.reason, root, this.path);
    return this;
  }
}

/** A message given to `encode` holds a value of the wrong type or out of range. */
export class EncodeError extends CodecError {
  /** `EncodeError` */
  override readonly name = 'EncodeError';
  /** Always the same. */
  readonly code = 'MILLRACE_ENCODE';
}

/** Bytes given to `decode` are no message of the type: truncated, malformed, too deeply nested. */
export class DecodeError extends CodecError {
  /** `DecodeError` */
  override readonly name = 'DecodeError';
  /** Always the same. */
  readonly code = 'MILLRACE_DECODE';
}

/** JSON given to `fromJson`, or a message given to `toJson`, has no place in the JSON mapping. */
export class JsonError extends CodecError {
  /** `JsonError` */
  override readonly name = 'JsonError';
  /** Always the same. */
  readonly code = 'MILLRACE_JSON';
}

/** `a` and `b.c` make `a.b.c`, `a` and `[3]` make `a[3]`. */
export function joinPath(step: string, rest: string): string {
  if (step === '') return rest;
  return rest === '' || rest.startsWith('[') ? step + rest : `${step}.${rest}`;
}

function describe(reason: string, root: string, path: string): string {
  return `${joinPath(root, path)}: ${reason}`;
}
