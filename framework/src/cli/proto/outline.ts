import type { Range } from './diagnostic.js';

/** What a .proto file declares, and where: names, not meanings. Ranges are offsets into its text. */
export interface Outline extends Scope {
  /** `proto2` if the file says nothing. */
  readonly syntax: 'proto2' | 'proto3' | 'editions';
  readonly packageName: string;
  /** The statement `syntax`, `edition` or `package` that comes last; absent if there is none. */
  readonly header: Range | undefined;
  readonly imports: readonly Import[];
  readonly services: readonly ServiceNode[];
  readonly options: readonly OptionNode[];
  /** Whether declarations may be missing because of syntax errors. */
  readonly incomplete: boolean;
}

/** What can hold declarations: a file or a message. */
export interface Scope {
  readonly messages: readonly MessageNode[];
  readonly enums: readonly EnumNode[];
  readonly extends: readonly ExtendNode[];
}

/** A name as it is written. */
export interface Name extends Range {
  readonly text: string;
}

/** A declaration: `start` and `end` include its semicolon or closing brace. */
export interface Declaration extends Range {
  readonly name: Name;
}

export interface Import extends Range {
  /** The import path without quotes; its range has them. */
  readonly path: Name;
  readonly modifier: 'public' | 'weak' | 'option' | undefined;
}

export interface OptionNode extends Range {
  /** `features.enum_type`; a custom one with its parentheses. */
  readonly name: Name;
  /** The tokens of its value, joined by spaces. */
  readonly value: string;
}

export interface MessageNode extends Declaration, Scope {
  readonly kind: 'message';
  /** Between the braces. */
  readonly body: Range;
  /** Those of its oneofs included. */
  readonly fields: readonly FieldNode[];
  readonly oneofs: readonly OneofNode[];
  readonly reserved: readonly Reservation[];
  readonly extensions: readonly Reservation[];
  readonly options: readonly OptionNode[];
}

export interface FieldNode extends Declaration {
  readonly kind: 'field';
  readonly label: Name | undefined;
  /** `map` for a map, `group` for a group. */
  readonly type: Name;
  readonly map: { readonly key: Name; readonly value: Name } | undefined;
  readonly group: MessageNode | undefined;
  /** Absent if there is none that can be read. */
  readonly number: NumberNode | undefined;
  readonly oneof: OneofNode | undefined;
  readonly options: readonly OptionNode[];
}

export interface NumberNode extends Range {
  readonly value: number;
}

export interface OneofNode extends Declaration {
  readonly kind: 'oneof';
  readonly fieldCount: number;
}

export interface ExtendNode extends Range {
  /** The message that is extended. */
  readonly target: Name;
  readonly fields: readonly FieldNode[];
}

/** Of `reserved` or `extensions`: a range of numbers with both ends, or a name. */
export type Reservation = Range &
  (
    | { readonly kind: 'numbers'; readonly from: number; readonly to: number }
    | { readonly kind: 'name'; readonly name: string }
  );

export interface EnumNode extends Declaration {
  readonly kind: 'enum';
  readonly body: Range;
  readonly values: readonly EnumValueNode[];
  readonly reserved: readonly Reservation[];
  readonly options: readonly OptionNode[];
}

export interface EnumValueNode extends Declaration {
  readonly kind: 'value';
  readonly number: NumberNode | undefined;
}

export interface ServiceNode extends Declaration {
  readonly kind: 'service';
  readonly body: Range;
  readonly methods: readonly MethodNode[];
}

export interface MethodNode extends Declaration {
  readonly kind: 'rpc';
  readonly input: MethodType;
  readonly output: MethodType;
}

export interface MethodType {
  readonly type: Name;
  readonly stream: boolean;
}

/** The value of an option, if it is set. */
export function optionValue(options: readonly OptionNode[], name: string): string | undefined {
  return options.findLast((option) => option.name.text === name)?.value;
}
