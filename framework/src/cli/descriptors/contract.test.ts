import { describe, expect, test } from 'vitest';
import { fromBinary, toBinary } from '../../codec/index.js';
import * as wellKnown from '../../codec/well-known.gen.js';
import {
  descriptorFile,
  FeatureSet_FieldPresence,
  FeatureSet_MessageEncoding,
  FeatureSet_RepeatedFieldEncoding,
  FieldDescriptorProto_Label,
  FieldDescriptorProto_Type,
  FileDescriptorProto,
  type FileDescriptorProtoInit,
} from '../../gen/google/protobuf/descriptor.js';
import { jsonOf } from '../call/message-output.js';
import { Contract } from './contract.js';
import type { DescriptorSource } from './descriptor-source.js';

/** A source that has these files and knows their symbols by nothing but their package. */
function sourceOf(...files: Uint8Array[]): DescriptorSource {
  return {
    name: 'the test',
    services: async () => [],
    fileOfSymbol: async (symbol) => {
      const found = files.filter((bytes) =>
        symbol.startsWith(`${fromBinary(FileDescriptorProto, bytes).package}.`),
      );
      return found.length > 0 ? found : undefined;
    },
    fileByPath: async () => undefined,
  };
}

async function contractOf(file: FileDescriptorProtoInit): Promise<Contract> {
  const contract = new Contract(sourceOf(toBinary(FileDescriptorProto, file)));
  expect(await contract.load(`${file.package}.M`)).toBe(true);
  return contract;
}

const { LABEL_OPTIONAL, LABEL_REPEATED } = FieldDescriptorProto_Label;
const { TYPE_INT32, TYPE_GROUP, TYPE_MESSAGE, TYPE_STRING } = FieldDescriptorProto_Type;

test('a dynamic type reads and writes as the generated one does', async () => {
  const contract = new Contract(sourceOf(descriptorFile.bytes));
  await contract.load('google.protobuf.FileDescriptorProto');
  const dynamic = contract.type('google.protobuf.FileDescriptorProto');
  const { anyFile, structFile, wrappersFile, timestampFile } = wellKnown;
  for (const { bytes } of [descriptorFile, anyFile, structFile, wrappersFile, timestampFile]) {
    const generated = fromBinary(FileDescriptorProto, bytes);
    const received = fromBinary(dynamic, bytes);
    const json = dynamic.toJson(received);
    expect(json).toEqual(FileDescriptorProto.toJson(generated));
    expect(toBinary(dynamic, received)).toEqual(toBinary(FileDescriptorProto, generated));
    expect(toBinary(dynamic, dynamic.fromJson(json))).toEqual(
      toBinary(FileDescriptorProto, generated),
    );
  }
});

test('a message that comes in parts is merged, and the last value counts', async () => {
  const contract = new Contract(sourceOf(descriptorFile.bytes));
  await contract.load('google.protobuf.FileDescriptorProto');
  const dynamic = contract.type('google.protobuf.FileDescriptorProto');
  const parts = [
    { name: 'a', options: { javaPackage: 'x' }, dependency: ['d'] },
    { name: 'b', options: { goPackage: 'y' }, dependency: ['e'] },
  ];
  const bytes = Buffer.concat(parts.map((part) => toBinary(FileDescriptorProto, part)));
  expect(dynamic.toJson(fromBinary(dynamic, bytes))).toEqual({
    name: 'b',
    options: { javaPackage: 'x', goPackage: 'y' },
    dependency: ['d', 'e'],
  });
});

test('bytes that are no such message name the field', async () => {
  const contract = new Contract(sourceOf(descriptorFile.bytes));
  await contract.load('google.protobuf.FileDescriptorProto');
  const dynamic = contract.type('google.protobuf.FileDescriptorProto');
  // options (8), java_package (1): five bytes are announced, and none follows.
  const bytes = new Uint8Array([66, 2, 10, 5]);
  expect(() => fromBinary(dynamic, bytes)).toThrow('FileDescriptorProto.options.java_package: ');
});

describe('presence and packing', () => {
  const field = (name: string, number: number, label: FieldDescriptorProto_Label) => {
    return { name, number, label, type: TYPE_INT32, jsonName: name };
  };
  const message = {
    name: 'M',
    field: [field('one', 1, LABEL_OPTIONAL), field('list', 2, LABEL_REPEATED)],
  };
  const json = { one: 0, list: [1, 2] };

  /** What is written of `json`. */
  async function written(file: FileDescriptorProtoInit): Promise<number[]> {
    const type = (await contractOf({ name: 'm.proto', package: 'm', ...file })).type('m.M');
    return [...toBinary(type, type.fromJson(json))];
  }

  const one = [8, 0];
  const packed = [18, 2, 1, 2];
  const expanded = [16, 1, 16, 2];

  test('proto2', async () => {
    expect(await written({ messageType: [message] })).toEqual([...one, ...expanded]);
  });

  test('proto3', async () => {
    expect(await written({ syntax: 'proto3', messageType: [message] })).toEqual(packed);
  });

  test('editions', async () => {
    const file = { syntax: 'editions', messageType: [message] };
    expect(await written(file)).toEqual([...one, ...packed]);
    const features = {
      fieldPresence: FeatureSet_FieldPresence.IMPLICIT,
      repeatedFieldEncoding: FeatureSet_RepeatedFieldEncoding.EXPANDED,
    };
    expect(await written({ ...file, options: { features } })).toEqual(expanded);
    const explicit = { fieldPresence: FeatureSet_FieldPresence.EXPLICIT };
    const nested = { ...message, options: { features: explicit } };
    expect(await written({ ...file, options: { features }, messageType: [nested] })).toEqual([
      ...one,
      ...expanded,
    ]);
  });
});

test('groups are skipped, as fields and on the wire', async () => {
  const { DELIMITED } = FeatureSet_MessageEncoding;
  const inner = { name: 'G', field: [{ name: 'x', number: 1, type: TYPE_INT32 }] };
  const group = { name: 'g', number: 1, label: LABEL_OPTIONAL, typeName: '.m.M.G' };
  const text = { name: 't', number: 2, label: LABEL_OPTIONAL, type: TYPE_STRING };
  // g { x: 7 }, t: "a"
  const bytes = new Uint8Array([11, 8, 7, 12, 18, 1, 97]);
  const proto2 = {
    messageType: [
      { name: 'M', nestedType: [inner], field: [{ ...group, type: TYPE_GROUP }, text] },
    ],
  };
  const delimited = { features: { messageEncoding: DELIMITED } };
  const editions = {
    syntax: 'editions',
    messageType: [
      {
        name: 'M',
        nestedType: [inner],
        field: [{ ...group, type: TYPE_MESSAGE, options: delimited }, text],
      },
    ],
  };
  for (const file of [proto2, editions]) {
    const type = (await contractOf({ name: 'm.proto', package: 'm', ...file })).type('m.M');
    expect(type.toJson(fromBinary(type, bytes))).toEqual({ t: 'a' });
  }
});

test('a type that is not described is named when it is needed', async () => {
  const other = { name: 'o', number: 1, type: TYPE_MESSAGE, typeName: '.other.Thing' };
  const contract = await contractOf({
    name: 'm.proto',
    package: 'm',
    dependency: ['other.proto'],
    messageType: [{ name: 'M', field: [other] }],
  });
  const type = contract.type('m.M');
  expect(() => type.fromJson({})).toThrow(
    'the test refers to other.Thing and does not describe it',
  );
});

test('an Any of a type that nobody describes shows its bytes', async () => {
  const contract = await contractOf({
    name: 'm.proto',
    package: 'm',
    syntax: 'proto3',
    dependency: ['google/protobuf/any.proto'],
    messageType: [
      {
        name: 'M',
        field: [{ name: 'a', number: 1, type: TYPE_MESSAGE, typeName: '.google.protobuf.Any' }],
      },
    ],
  });
  const a = { typeUrl: 'x/unknown.Thing', value: new Uint8Array([1, 2, 3]) };
  expect(await jsonOf(contract, contract.type('m.M'), { a })).toEqual({
    a: { '@type': 'x/unknown.Thing', value: 'AQID' },
  });
});
