import { type DestinationStream, type Logger, pino } from 'pino';

/** The levels of pino, from the loudest; `silent` turns everything off, the listening line too. */
export type LogLevel = 'trace' | 'debug' | 'info' | 'warn' | 'error' | 'fatal' | 'silent';

/**
 * JSON lines on standard output. Depth and breadth of logged objects are bounded, and a bigint is
 * written as a number of any length, where JSON.stringify would throw.
 */
export function createLogger(level: LogLevel, destination?: DestinationStream): Logger {
  return pino({ level, depthLimit: 5, edgeLimit: 100 }, destination);
}

/** Writes a line that must not get lost to a high level: only `silent` suppresses it. */
export function always(logger: Logger, fields: object, message: string): void {
  if (logger.level === 'silent') return;
  logger.child({}, { level: 'info' }).info(fields, message);
}
