/**
 * The status codes of gRPC.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
 */
export const Status = {
  /** The call succeeded. */
  OK: 0,
  /** The call was cancelled, mostly by its caller. */
  CANCELLED: 1,
  /** No cause is known: another system's error, or a status that cannot be read. */
  UNKNOWN: 2,
  /** The request is wrong, whatever state the server is in. */
  INVALID_ARGUMENT: 3,
  /** The deadline passed first; what was asked for may have been done. */
  DEADLINE_EXCEEDED: 4,
  /** What was asked for is not there. */
  NOT_FOUND: 5,
  /** What was to be created is there already. */
  ALREADY_EXISTS: 6,
  /** The caller is known and may not do this. */
  PERMISSION_DENIED: 7,
  /** A quota, a limit or memory is used up. */
  RESOURCE_EXHAUSTED: 8,
  /** The server is not in the state that this needs; do not retry before it is. */
  FAILED_PRECONDITION: 9,
  /** A conflict, such as a lost race: retry the whole of it. */
  ABORTED: 10,
  /** Beyond the end of what there is now, such as of a file. */
  OUT_OF_RANGE: 11,
  /** There is no such method here. */
  UNIMPLEMENTED: 12,
  /** An invariant is broken: a bug. */
  INTERNAL: 13,
  /** The server cannot be reached, or does not take calls now; retry, with back-off. */
  UNAVAILABLE: 14,
  /** Data is lost or damaged beyond repair. */
  DATA_LOSS: 15,
  /** The caller has not shown who it is. */
  UNAUTHENTICATED: 16,
} as const;

/** One of the 17 codes of {@link Status}. */
export type Status = (typeof Status)[keyof typeof Status];

const names = Object.keys(Status) as (keyof typeof Status)[];

/** The name of a code (`5` → `NOT_FOUND`); `UNKNOWN` for a number that is no code. */
export function statusName(code: number): keyof typeof Status {
  return names[code] ?? 'UNKNOWN';
}

/** Whether a number is one of the 17 codes. */
export function isStatus(code: unknown): code is Status {
  return Number.isInteger(code) && (code as number) >= 0 && (code as number) <= 16;
}
