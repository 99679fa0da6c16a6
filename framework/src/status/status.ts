/**
 * The status codes of gRPC.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/statuscodes.md
 */
export const Status = {
  OK: 0,
  CANCELLED: 1,
  UNKNOWN: 2,
  INVALID_ARGUMENT: 3,
  DEADLINE_EXCEEDED: 4,
  NOT_FOUND: 5,
  ALREADY_EXISTS: 6,
  PERMISSION_DENIED: 7,
  RESOURCE_EXHAUSTED: 8,
  FAILED_PRECONDITION: 9,
  ABORTED: 10,
  OUT_OF_RANGE: 11,
  UNIMPLEMENTED: 12,
  INTERNAL: 13,
  UNAVAILABLE: 14,
  DATA_LOSS: 15,
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
