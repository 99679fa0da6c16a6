/** What the exit codes of `millrace` say. */
export const ExitCode = {
  OK: 0,
  /** What was asked for could not be done. */
  FAILURE: 1,
  /** The command line cannot be understood. */
  USAGE: 2,
  /** `millrace call`: so much plus the status code of a call that was not OK. */
  STATUS: 64,
} as const;

/** What a `CliError` carries beside its message. */
export interface CliErrorOptions {
  /** What the user can do about it: a sentence. */
  readonly remedy?: string | undefined;
  /** Default: `ExitCode.FAILURE`. */
  readonly exitCode?: number | undefined;
  /** Shown with `--verbose`. */
  readonly cause?: unknown;
}

/** A failure that a person is to read: no stack trace without `--verbose`. */
export class CliError extends Error {
  override readonly name = 'CliError';
  readonly remedy: string | undefined;
  readonly exitCode: number;

  /** @param message what is wrong, and where */
  constructor(message: string, { remedy, exitCode, cause }: CliErrorOptions = {}) {
    super(message, cause === undefined ? undefined : { cause });
    this.remedy = remedy;
    this.exitCode = exitCode ?? ExitCode.FAILURE;
  }
}

/** A command line that cannot be understood. */
export function usageError(message: string, remedy?: string): CliError {
  return new CliError(message, { remedy, exitCode: ExitCode.USAGE });
}
