// How options are checked: each error says which option of which function it is, what it is, and what it has
// to be.

import { MillraceError } from 'millrace';

/** Whole numbers that an option may be, and the one that it is when it is left out. */
export interface Range {
  readonly default: number;
  readonly least: number;
  readonly most: number;
}

/** The checks of the options of one function. Each throws MillraceError MILLRACE_OPTION_INVALID. */
export class OptionChecks {
  readonly #of: string;

  /** @param of the function: `pubSub()` */
  constructor(of: string) {
    this.#of = of;
  }

  /** An object that has no other names than these. @param group `option`, or the option that it is given as */
  names(group: string, given: object, names: readonly string[]): void {
    for (const name of Object.keys(given)) {
      if (names.includes(name)) continue;
      this.refuse(
        `has no ${group === 'option' ? '' : `${group}.`}${name}; it has ${names.join(', ')}`,
      );
    }
  }

  /** An object; an empty one where none is given. */
  object(name: string, given: unknown, wanted: string): Readonly<Record<string, unknown>> {
    if (given === undefined) return {};
    if (typeof given !== 'object' || given === null || Array.isArray(given)) {
      this.invalid(name, given, wanted);
    }
    return given as Record<string, unknown>;
  }

  /** An array; an empty one where none is given. */
  list(name: string, given: unknown, wanted: string): readonly unknown[] {
    if (given === undefined) return [];
    if (!Array.isArray(given)) this.invalid(name, given, wanted);
    return given;
  }

  /** A number in its range, or its default. */
  inRange(name: string, given: unknown, { default: usual, least, most }: Range): number {
    const value = given ?? usual;
    if (Number.isInteger(value) && Number(value) >= least && Number(value) <= most) {
      return Number(value);
    }
    return this.invalid(name, value, `an integer from ${least} to ${most}`);
  }

  /** Numbers of a table, each in its range, with the defaults of those that are absent. */
  ranged<K extends string>(
    group: string,
    given: unknown,
    ranges: { readonly [Name in K]: Range },
  ): { readonly [Name in K]: number } {
    const values = this.object(group, given, 'an object of numbers');
    this.names(group, values, Object.keys(ranges));
    const checked: Record<string, number> = {};
    for (const [name, range] of Object.entries<Range>(ranges)) {
      checked[name] = this.inRange(`${group}.${name}`, values[name], range);
    }
    return checked as { [Name in K]: number };
  }

  invalid(name: string, value: unknown, wanted: string): never {
    const shown =
      typeof value === 'bigint' ? String(value) : (JSON.stringify(value) ?? String(value));
    throw new MillraceError(
      'MILLRACE_OPTION_INVALID',
      `${this.#of}: ${name} is ${shown}, but has to be ${wanted}`,
    );
  }

  refuse(what: string): never {
    throw new MillraceError('MILLRACE_OPTION_INVALID', `${this.#of} ${what}`);
  }
}
