/** Where something stands in a .proto file. Lines and columns count from 1. */
export interface Place {
  readonly file: string;
  readonly line?: number | undefined;
  readonly column?: number | undefined;
}

/** A .proto file that cannot be turned into TypeScript: where, why, and how to mend it. */
export class GenerateError extends Error {
  override readonly name = 'GenerateError';
  readonly code = 'MILLRACE_GENERATE';
  readonly place: Place | undefined;

  constructor(place: Place | undefined, reason: string) {
    super(place ? `${show(place)}: ${reason}` : reason);
    this.place = place;
  }
}

function show({ file, line, column }: Place): string {
  return [file, line, line === undefined ? undefined : column]
    .filter((part) => part !== undefined)
    .join(':');
}
