import type { Fault, Range } from './diagnostic.js';
import type { Lines } from './lines.js';
import type {
  EnumNode,
  FieldNode,
  MessageNode,
  Name,
  OptionNode,
  Outline,
  Reservation,
  Scope,
} from './outline.js';
import { optionValue } from './outline.js';
import { FIELD_NUMBERS } from './parse.js';

/**
 * Checks the rules of the language that need no other file: numbers, labels, reservations, first
 * values of enums. The parser that the generator uses afterwards knows few of them.
 */
export function check(outline: Outline, lines: Lines): Fault[] {
  const checker = new Checker(outline, lines);
  checker.file();
  return checker.faults;
}

const MAP_KEYS = new Set(
  'int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 bool string'.split(
    ' ',
  ),
);

class Checker {
  readonly faults: Fault[] = [];
  private readonly outline: Outline;
  private readonly lines: Lines;

  constructor(outline: Outline, lines: Lines) {
    this.outline = outline;
    this.lines = lines;
  }

  file(): void {
    const { options, syntax } = this.outline;
    const seen = new Set<string>();
    for (const { path } of this.outline.imports) {
      if (seen.has(path.text)) this.fault(path, `${path.text} is imported already`);
      seen.add(path.text);
    }
    const open = syntax === 'proto3' || syntax === 'editions';
    this.scope(this.outline, syntax === 'editions' ? isOpen(options, open) : open);
  }

  private scope(scope: Scope, open: boolean): void {
    for (const message of scope.messages) this.message(message, open);
    for (const declared of scope.enums) this.enum(declared, open);
    for (const { fields } of scope.extends) {
      for (const field of fields) {
        this.field(field);
        if (field.label?.text === 'required') {
          this.fault(field.label, `extension ${field.name.text} cannot be required`);
        }
      }
    }
  }

  private message(message: MessageNode, open: boolean): void {
    this.scope(message, isOpen(message.options, open));
    for (const field of message.fields) this.field(field);
    this.numbers(message);
    this.reservations(message.reserved, message.extensions);
    for (const { name, fieldCount } of message.oneofs) {
      if (fieldCount === 0) this.fault(name, `oneof ${name.text} has no field`);
    }
    const [extensions] = message.extensions;
    if (extensions && this.outline.syntax === 'proto3') {
      this.fault(extensions, 'proto3 has no extension ranges; use google.protobuf.Any');
    }
  }

  private field({ name, label, type, map, group, number, oneof, options }: FieldNode): void {
    const { syntax } = this.outline;
    const what = `field ${name.text}`;
    if (number && (number.value === 0 || (number.value >= 19000 && number.value <= 19999))) {
      this.fault(number, `${what} has the number ${number.value}; ${FIELD_NUMBERS}`);
    }
    if (map && !MAP_KEYS.has(map.key.text)) {
      const reason = `the keys of ${what} cannot be ${map.key.text}; use an integer type, bool or string`;
      this.fault(map.key, reason);
    }
    if (map && oneof) this.fault(type, `a map cannot be in a oneof; put ${what} behind it`);
    if (label && (map || oneof)) {
      const where = map ? 'a map' : 'a field of a oneof';
      this.fault(label, `${where} has no label; take ${label.text} away from ${what}`);
    } else {
      this.label(what, label, type, map !== undefined || oneof !== undefined);
    }
    if (group && syntax !== 'proto2') {
      this.fault(type, `groups are for proto2 only; make ${what} a message`);
    }
    const preset = options.find((option) => option.name.text === 'default');
    if (preset && syntax === 'proto3') {
      this.fault(preset.name, `proto3 has no default values; take that of ${what} away`);
    }
  }

  private label(what: string, label: Name | undefined, type: Name, free: boolean): void {
    switch (this.outline.syntax) {
      case 'proto3':
        if (label?.text === 'required') {
          this.fault(label, `proto3 has no required; take it away from ${what}`);
        }
        return;
      case 'editions':
        if (label && label.text !== 'repeated') {
          const reason = `editions have no ${label.text}; give ${what} features.field_presence instead`;
          this.fault(label, reason);
        }
        return;
      case 'proto2':
        if (!label && !free) {
          this.fault(type, `proto2 needs a label: put optional or repeated before ${what}`);
        }
    }
  }

  /** Numbers given twice, and those and names that are reserved. */
  private numbers({ fields, reserved, extensions }: MessageNode): void {
    const taken = new Map<number, FieldNode>();
    for (const field of fields) {
      const { name, number } = field;
      const what = `field ${name.text}`;
      this.reservedName(what, name, reserved);
      if (!number || number.value === 0) continue;
      const first = taken.get(number.value);
      if (first) {
        const owner = `field ${first.name.text} (line ${this.line(first.number as Range)})`;
        this.fault(
          number,
          `${what} has the number ${number.value}, which ${owner} has; give it another number`,
        );
      }
      taken.set(number.value, first ?? field);
      this.reservedNumber(what, number, reserved, 'reserved');
      this.reservedNumber(what, number, extensions, 'left to extensions');
    }
  }

  private enum({ name, values, reserved, options }: EnumNode, open: boolean): void {
    const [first] = values;
    if (!first) this.fault(name, `enum ${name.text} has no value`);
    if (first?.number && first.number.value !== 0 && isOpen(options, open)) {
      const example = `${upperSnake(name.text)}_UNSPECIFIED = 0`;
      this.fault(
        first.number,
        `the first value of enum ${name.text} must be zero; add one, such as ${example}`,
      );
    }
    const aliases = optionValue(options, 'allow_alias') === 'true';
    const taken = new Map<number, { name: Name }>();
    for (const value of values) {
      const { number } = value;
      const what = `value ${value.name.text}`;
      this.reservedName(what, value.name, reserved);
      if (!number) continue;
      const other = taken.get(number.value);
      if (other && !aliases) {
        const owner = `${other.name.text} (line ${this.line(other.name)})`;
        this.fault(
          number,
          `${what} has the number ${number.value}, which ${owner} has; give it another number, or set option allow_alias = true`,
        );
      }
      taken.set(number.value, other ?? value);
      this.reservedNumber(what, number, reserved, 'reserved');
    }
    this.reservations(reserved, []);
  }

  private reservedName(what: string, name: Name, reserved: readonly Reservation[]): void {
    const by = reserved.find((entry) => entry.kind === 'name' && entry.name === name.text);
    if (by) this.fault(name, `${what} has a name that is reserved (line ${this.line(by)})`);
  }

  private reservedNumber(
    what: string,
    number: Range & { readonly value: number },
    reserved: readonly Reservation[],
    how: string,
  ): void {
    const { value } = number;
    const by = reserved.find(
      (entry) => entry.kind === 'numbers' && entry.from <= value && value <= entry.to,
    );
    if (by) {
      const where = `line ${this.line(by)}`;
      this.fault(number, `${what} has the number ${value}, which is ${how} (${where})`);
    }
  }

  /** Ranges that overlap, and what is reserved twice. */
  private reservations(reserved: readonly Reservation[], extensions: readonly Reservation[]): void {
    const names = new Set<string>();
    const ranges: (Range & { from: number; to: number })[] = [];
    for (const entry of [...reserved, ...extensions]) {
      if (entry.kind === 'name') {
        if (names.has(entry.name)) this.fault(entry, `the name ${entry.name} is reserved already`);
        names.add(entry.name);
        continue;
      }
      const other = ranges.find(({ from, to }) => entry.from <= to && from <= entry.to);
      if (other) {
        const shown = entry.from === entry.to ? `${entry.from}` : `${entry.from} to ${entry.to}`;
        this.fault(entry, `${shown} overlaps with what line ${this.line(other)} takes`);
      }
      ranges.push(entry);
    }
  }

  private line({ start }: Range): number {
    return this.lines.positionOf(start).line;
  }

  private fault({ start, end }: Range, message: string): void {
    this.faults.push({ start, end, message });
  }
}

/** Whether enums here are open: numbers without a name are values too. Inherited from outside. */
function isOpen(options: readonly OptionNode[], inherited: boolean): boolean {
  const all = optionValue(options, 'features') ?? '';
  const given = optionValue(options, 'features.enum_type') ?? /\benum_type : (\w+)/.exec(all)?.[1];
  return given === undefined ? inherited : given === 'OPEN';
}

/** `ColourName` becomes `COLOUR_NAME`. */
function upperSnake(name: string): string {
  return name.replace(/([a-z0-9])(?=[A-Z])/g, '$1_').toUpperCase();
}
