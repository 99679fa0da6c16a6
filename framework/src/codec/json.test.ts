import { describe, expect, test } from 'vitest';
import { importGenerated } from '../cli/generate/modules.test-support.js';
import {
  Any,
  BoolValue,
  BytesValue,
  Duration,
  durationFromMs,
  durationToMs,
  FieldMask,
  fromBinary,
  Int64Value,
  JsonError,
  type JsonValue,
  ListValue,
  type MessageType,
  packAny,
  StringValue,
  Struct,
  Timestamp,
  timestampFromDate,
  timestampToDate,
  timestampToMs,
  toBinary,
  unpackAny,
  Value,
} from './index.js';

const rich = await importGenerated('millrace/test/v1/rich.ts');
const { Scalars, Optionals, Repeated, Maps, Tree, WellKnown, UsesShared } = rich as Record<
  'Scalars' | 'Optionals' | 'Repeated' | 'Maps' | 'Tree' | 'WellKnown' | 'UsesShared',
  // biome-ignore lint/suspicious/noExplicitAny: types that exist only once they are generated
  MessageType<any, any>
>;

const full = {
  aDouble: 0.1,
  aFloat: 0.10000000149011612,
  aInt32: -1,
  aInt64: '-9223372036854775808',
  aUint32: 4294967295,
  aUint64: '18446744073709551615',
  aSint32: -2147483648,
  aSint64: '9007199254740993',
  aFixed32: 1,
  aFixed64: '2',
  aSfixed32: 3,
  aSfixed64: '-4',
  aBool: true,
  aString: '"𝄞',
  aBytes: '//79',
  aColour: 'COLOUR_RED',
};

describe('scalars', () => {
  test('every type has its JSON form', () => {
    const message = Scalars.fromJson(full);
    expect(message).toMatchObject({ aInt64: -(2n ** 63n), aUint64: 2n ** 64n - 1n, aColour: 1 });
    expect(message.aBytes).toEqual(new Uint8Array([0xff, 0xfe, 0xfd]));
    expect(Scalars.toJson(message)).toEqual({ ...full, aFloat: 0.1 });
  });

  test('defaults are left out, optional ones are not', () => {
    expect(Scalars.toJson(Scalars.create())).toEqual({});
    const zero = Optionals.create({ aInt32: 0, aString: '', aBool: false, aInt64: 0n });
    expect(Optionals.toJson(zero)).toEqual({ aInt32: 0, aString: '', aBool: false, aInt64: '0' });
  });

  test.each<[string, JsonValue, unknown]>([
    ['aInt32', '12', 12],
    ['aInt32', 1e3, 1000],
    ['aInt32', '1e3', 1000],
    ['aInt64', 9007199254740991, 9007199254740991n],
    ['aInt64', '-12', -12n],
    ['aUint64', 1e3, 1000n],
    ['aDouble', 'NaN', Number.NaN],
    ['aDouble', 'Infinity', Number.POSITIVE_INFINITY],
    ['aFloat', '-Infinity', Number.NEGATIVE_INFINITY],
    ['aFloat', 0.1, Math.fround(0.1)],
    ['aDouble', '-1.5e-3', -0.0015],
    ['aBytes', '_-8', new Uint8Array([0xff, 0xef])],
    ['aBytes', '/+8=', new Uint8Array([0xff, 0xef])],
    ['aColour', 77, 77],
    ['aColour', 'COLOUR_ROUGE', 1],
    ['aString', null, ''],
    ['aInt32', null, 0],
  ])('%s accepts %j', (name, json, value) => {
    expect(Scalars.fromJson({ [name]: json })[name]).toEqual(value);
    const proto = name.replace(/[A-Z]/, (letter) => `_${letter.toLowerCase()}`);
    expect(Scalars.fromJson({ [proto]: json })[name]).toEqual(value);
  });

  test.each<[string, JsonValue]>([
    ['aInt32', 1.5],
    ['aInt32', 2147483648],
    ['aInt32', ''],
    ['aInt32', ' 1'],
    ['aInt32', '0x10'],
    ['aInt32', true],
    ['aUint32', -1],
    ['aInt64', '9223372036854775808'],
    ['aUint64', '-1'],
    ['aInt64', '1.5'],
    ['aDouble', 'nan'],
    ['aDouble', '1e999'],
    ['aFloat', 1e39],
    ['aBool', 'true'],
    ['aString', 1],
    ['aBytes', 'a'],
    ['aBytes', '*'],
    ['aBytes', 'ab!='],
    ['aColour', 'COLOUR_BLUE'],
    ['aColour', 1.5],
  ])('%s refuses %j', (name, json) => {
    expect(() => Scalars.fromJson({ [name]: json })).toThrow(JsonError);
    expect(() => Scalars.fromJson({ [name]: json })).toThrow(`Scalars.${name}: expected`);
  });

  test('an unknown enum value is its number', () => {
    expect(Scalars.toJson(Scalars.create({ aColour: 9 }))).toEqual({ aColour: 9 });
  });
});

describe('structure', () => {
  test('an unknown field, a field given twice, and what is no object are errors', () => {
    expect(() => Scalars.fromJson({ nope: 1 })).toThrow('Scalars.nope: no such field');
    expect(() => Scalars.fromJson({ aInt32: 1, a_int32: 1 })).toThrow('given twice');
    expect(() => Scalars.fromJson([])).toThrow('Scalars: expected an object, got an array');
  });

  test('an error names the whole path', () => {
    const json = { children: [{}, { named: { x: { leaf: { shape: 'SHAPE_SQUARE' } } } }] };
    expect(() => Tree.fromJson(json)).toThrow(
      'Tree.children[1].named["x"].leaf.shape: expected the name or number of an enum value, got "SHAPE_SQUARE"',
    );
    expect(() => Repeated.fromJson({ aInt32: [1, 'x'] })).toThrow('Repeated.aInt32[1]: expected');
  });

  test('null is absence, but no value of a list or map', () => {
    expect(Tree.fromJson({ leaf: null, children: null, named: null, text: null })).toEqual(
      Tree.create(),
    );
    expect(() => Repeated.fromJson({ aString: [null] })).toThrow('Repeated.aString[0]: null');
    expect(() => Maps.fromJson({ labels: { a: null } })).toThrow('Maps.labels["a"]: null');
  });

  test('a oneof has one member', () => {
    expect(Tree.fromJson({ number: '5' }).choice).toEqual({ case: 'number', value: 5n });
    expect(Tree.toJson(Tree.create({ choice: { case: 'flag', value: false } }))).toEqual({
      flag: false,
    });
    expect(Tree.fromJson({ nothing: null }).choice).toEqual({ case: 'nothing', value: 0 });
    expect(() => Tree.fromJson({ text: 'a', number: 1 })).toThrow("'text' of the same oneof");
  });

  test('maps are objects whose keys are strings', () => {
    const json = {
      byInt64: { '-5': 'AQ==' },
      byBool: { true: 1, false: 2 },
      byString: { __proto__: undefined, '': { aBool: true } },
      labels: JSON.parse('{"__proto__": "x", "constructor": "y"}') as JsonValue,
    };
    const message = Maps.fromJson(JSON.parse(JSON.stringify(json)) as JsonValue);
    expect(message.byInt64).toEqual(new Map([[-5n, new Uint8Array([1])]]));
    expect(message.byBool.get(true)).toBe(1);
    expect(message.labels.get('constructor')).toBe('y');
    expect(JSON.stringify(Maps.toJson(message))).toContain('"constructor":"y"');
    expect(() => Maps.fromJson({ byInt32: { x: 'a' } })).toThrow('Maps.byInt32: expected int32');
    expect(() => Maps.fromJson({ byBool: { yes: 1 } })).toThrow('expected keys "true" and "false"');
  });

  test('json_name is the name in JSON, beside the one in the .proto file', () => {
    const message = UsesShared.create({ custom: 'x' });
    expect(UsesShared.toJson(message)).toEqual({ 'it\'s "custom"': 'x' });
    expect(UsesShared.fromJson({ custom: 'x' })).toEqual(message);
  });
});

describe('well-known types', () => {
  test.each([
    ['1970-01-01T00:00:00Z', 0n, 0],
    ['2026-02-28T23:59:59.500Z', 1772323199n, 500_000_000],
    ['1969-12-31T23:59:59.000001Z', -1n, 1000],
    ['9999-12-31T23:59:59.999999999Z', 253402300799n, 999_999_999],
    ['0001-01-01T00:00:00Z', -62135596800n, 0],
  ])('Timestamp %s', (json, seconds, nanos) => {
    expect(Timestamp.toJson({ seconds, nanos })).toBe(json);
    expect(Timestamp.fromJson(json)).toEqual({ seconds, nanos });
  });

  test('a Timestamp may come with an offset', () => {
    expect(Timestamp.fromJson('1970-01-01T01:30:00+01:30')).toEqual({ seconds: 0n, nanos: 0 });
    expect(Timestamp.fromJson('1970-01-01T00:00:00.1-00:01')).toEqual({
      seconds: 60n,
      nanos: 100_000_000,
    });
  });

  test.each<JsonValue>(['', '1970-01-01', '1970-13-01T00:00:00Z', '1970-01-01T00:00:00', 0, null])(
    'Timestamp refuses %j',
    (json) => expect(() => Timestamp.fromJson(json)).toThrow('Timestamp: expected an RFC 3339'),
  );

  test('a Timestamp outside of the years 1 to 9999 has no JSON form', () => {
    expect(() => Timestamp.toJson({ seconds: 253402300800n, nanos: 0 })).toThrow(JsonError);
  });

  test.each([
    ['0s', 0n, 0],
    ['1.500s', 1n, 500_000_000],
    ['-1.000000001s', -1n, -1],
    ['-0.010s', 0n, -10_000_000],
    ['315576000000s', 315576000000n, 0],
  ])('Duration %s', (json, seconds, nanos) => {
    expect(Duration.toJson({ seconds, nanos })).toBe(json);
    expect(Duration.fromJson(json)).toEqual({ seconds, nanos });
  });

  test('Duration refuses two signs and other forms', () => {
    expect(() => Duration.toJson({ seconds: 1n, nanos: -1 })).toThrow(JsonError);
    for (const json of ['1', '1m', '1.s', '315576000001s', 1]) {
      expect(() => Duration.fromJson(json)).toThrow('Duration: expected a duration');
    }
  });

  test('dates and milliseconds', () => {
    const date = new Date('2026-11-21T10:11:12.345Z');
    expect(timestampToDate(timestampFromDate(date))).toEqual(date);
    expect(timestampFromDate(-1)).toEqual({ seconds: -1n, nanos: 999_000_000 });
    expect(timestampToMs({ seconds: -1n, nanos: 999_000_000 })).toBe(-1);
    expect(() => timestampFromDate(new Date(Number.NaN))).toThrow(RangeError);
    expect(durationFromMs(-1500)).toEqual({ seconds: -1n, nanos: -500_000_000 });
    expect(durationFromMs(-0)).toEqual({ seconds: 0n, nanos: 0 });
    expect(durationToMs({ seconds: -1n, nanos: -500_000_000 })).toBe(-1500);
    expect(() => durationFromMs(Number.NaN)).toThrow(RangeError);
  });

  test('Struct, Value and ListValue are the JSON itself', () => {
    const json = { a: [1, 'x', null, true, { b: [] }], c: null };
    expect(Struct.toJson(Struct.fromJson(json))).toEqual(json);
    expect(ListValue.toJson(ListValue.fromJson([json]))).toEqual([json]);
    expect(Value.toJson(fromBinary(Value, toBinary(Value, Value.fromJson(json))))).toEqual(json);
    expect(() => Value.toJson({ kind: undefined })).toThrow('without a kind');
    expect(() => Value.toJson({ kind: { case: 'numberValue', value: Number.NaN } })).toThrow('NaN');
  });

  test('wrappers are their value, and may be absent', () => {
    expect(Int64Value.toJson({ value: 0n })).toBe('0');
    expect(BoolValue.fromJson(true)).toEqual({ value: true });
    expect(BytesValue.toJson({ value: new Uint8Array([1]) })).toBe('AQ==');
    expect(StringValue.fromJson('')).toEqual({ value: '' });
    const message = WellKnown.fromJson({ boolValue: false, stringValue: null, value: null });
    expect(message).toMatchObject({ boolValue: { value: false }, stringValue: undefined });
    expect(message.value).toEqual({ kind: { case: 'nullValue', value: 0 } });
    expect(WellKnown.toJson(message)).toEqual({ boolValue: false, value: null });
  });

  test('FieldMask is a list of paths in lowerCamel', () => {
    expect(FieldMask.toJson({ paths: ['user.display_name', 'photo'] })).toBe(
      'user.displayName,photo',
    );
    expect(FieldMask.fromJson('user.displayName,photo')).toEqual({
      paths: ['user.display_name', 'photo'],
    });
    expect(FieldMask.fromJson('')).toEqual({ paths: [] });
    for (const path of ['fooBar', 'foo__bar', 'foo_3', '']) {
      expect(() => FieldMask.toJson({ paths: [path] })).toThrow(JsonError);
    }
    expect(() => FieldMask.fromJson('foo_bar')).toThrow(JsonError);
  });

  test('Any is the message with its type', () => {
    const any = packAny(Timestamp, { seconds: 1n });
    expect(unpackAny(Timestamp, any)).toEqual({ seconds: 1n, nanos: 0 });
    expect(unpackAny(Duration, any)).toBeUndefined();
    const url = 'type.googleapis.com/google.protobuf.Timestamp';
    expect(Any.toJson(any)).toEqual({ '@type': url, value: '1970-01-01T00:00:01Z' });
    const plain = packAny(Scalars, { aBool: true });
    const json = { '@type': 'type.googleapis.com/millrace.test.v1.Scalars', aBool: true };
    expect(Any.toJson(plain)).toEqual(json);
    expect(Any.fromJson(json)).toEqual(plain);
    expect(Any.fromJson({ '@type': url, value: '1970-01-01T00:00:01Z' })).toEqual(any);
    expect(() => Any.fromJson({ '@type': 'x/unknown.Type' })).toThrow('is not known');
    expect(() => Any.fromJson({ aBool: true })).toThrow('@type');
  });
});
