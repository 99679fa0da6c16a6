import { type Field, fieldsOf, jsonNameOf } from '../../codec/field.js';
import { findType, JsonError, type JsonValue } from '../../codec/index.js';
import { type CliError, usageError } from '../cli-error.js';
import type { Contract, DynamicType } from '../descriptors/contract.js';
import { didYouMean, nearNames } from '../near-names.js';
import { typeNameOf, typesNamedIn } from './any-types.js';
import type { JsonPiece } from './json-stream.js';
import { type JsonNode, JsonSyntaxError, type Place, parseJson, placeIn } from './json-text.js';

/**
 * The message that a JSON text describes, by the proto3 JSON mapping.
 *
 * @param origin where the text comes from, for errors: `standard input`
 * @throws CliError with line, column and the path of the field
 */
export async function readMessage(
  contract: Contract,
  type: DynamicType,
  { text, place }: JsonPiece,
  origin: string,
): Promise<Record<string, unknown>> {
  let node: JsonNode;
  try {
    node = parseJson(text, place);
  } catch (error) {
    if (!(error instanceof JsonSyntaxError)) throw error;
    throw failure(origin, error.place, error.path, error.message);
  }
  for (const name of typesNamedIn(node)) {
    if (await contract.load(name)) contract.type(name);
    else if (findType(name) === undefined) {
      throw failure(origin, place, '@type', `${contract.source.name} does not know ${name}`);
    }
  }
  try {
    return type.fromJson(jsonValue(node, type));
  } catch (error) {
    if (!(error instanceof JsonError)) throw error;
    const { found, suggestion } = follow(node, type, error.path);
    const where = placeIn(text, found.at, place);
    throw failure(origin, where, error.path, error.reason, suggestion);
  }
}

function failure(
  origin: string,
  { line, column }: Place,
  path: string,
  reason: string,
  remedy?: string,
): CliError {
  const field = path === '' ? '' : `, field ${path}`;
  return usageError(`${origin}, line ${line}, column ${column}${field}: ${reason}`, remedy);
}

/** What `fromJson` takes: 64-bit integers keep all of their digits, as text. */
function jsonValue(node: JsonNode, type: object | undefined, isLong = false): JsonValue {
  switch (node.kind) {
    case 'plain':
      return node.value;
    case 'number':
      return isLong || longTypes.has(nameOf(type)) ? node.text : Number(node.text);
    case 'array':
      return node.items.map((item) => jsonValue(item, type, isLong));
    case 'object': {
      const inner = anyTypeOf(node) ?? type;
      return Object.fromEntries(
        [...node.members].map(([name, member]) => {
          const field = fieldOf(inner, name);
          // An object of JSON where the field is no message: a map, or a mistake found later.
          const values = field?.map !== undefined && member.kind === 'object';
          const long = longScalars.has(field?.scalar ?? '');
          return [
            name,
            values ? mapOf(member, field?.message, long) : jsonValue(member, field?.message, long),
          ];
        }),
      );
    }
  }
}

function mapOf(
  { members }: JsonNode & { readonly kind: 'object' },
  type: object | undefined,
  isLong: boolean,
): JsonValue {
  return Object.fromEntries([...members].map(([key, one]) => [key, jsonValue(one, type, isLong)]));
}

const longScalars = new Set(['int64', 'uint64', 'sint64', 'fixed64', 'sfixed64']);
const longTypes = new Set(['google.protobuf.Int64Value', 'google.protobuf.UInt64Value']);

function nameOf(type: object | undefined): string {
  return (type as { readonly typeName?: string } | undefined)?.typeName ?? '';
}

/** The type that a google.protobuf.Any in JSON form says it is of. */
function anyTypeOf({ members }: JsonNode & { readonly kind: 'object' }): object | undefined {
  const named = members.get('@type');
  return named?.kind === 'plain' ? findType(typeNameOf(String(named.value))) : undefined;
}

function fieldOf(type: object | undefined, name: string): Field | undefined {
  const fields = type === undefined ? [] : (fieldsOf(type) ?? []);
  return fields.find((field) => jsonNameOf(field) === name || field.name === name);
}

/** Follows the path of an error as far as it leads into the text. */
function follow(
  root: JsonNode,
  rootType: object,
  path: string,
): { readonly found: JsonNode; readonly suggestion: string | undefined } {
  let found = root;
  let type: object | undefined = rootType;
  for (const [, index, key, name] of path.matchAll(
    /\[(\d+)\]|\[("(?:[^"\\]|\\.)*")\]|([^.[\]]+)/g,
  )) {
    let next: JsonNode | undefined;
    if (index !== undefined && found.kind === 'array') next = found.items[Number(index)];
    else if (found.kind === 'object' && index === undefined) {
      const step = name ?? (JSON.parse(key as string) as string);
      next = found.members.get(step);
      if (name !== undefined) {
        const inside: object | undefined = anyTypeOf(found) ?? type;
        const field = fieldOf(inside, name);
        if (field === undefined && inside !== undefined) {
          return { found: next ?? found, suggestion: fieldsNear(inside, name) };
        }
        type = field?.message;
      }
    }
    if (next === undefined) break;
    found = next;
  }
  return { found, suggestion: undefined };
}

function fieldsNear(type: object, name: string): string | undefined {
  const names = (fieldsOf(type) ?? []).map(jsonNameOf);
  const near = didYouMean(nearNames(name, names));
  return near ?? (names.length > 0 ? `Its fields are ${names.join(', ')}.` : undefined);
}
