import { readFileSync } from 'node:fs';
import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import protobuf from 'protobufjs';
import { expect, test } from 'vitest';
import { wrappersFile } from '../../codec/index.js';
import { resolveFiles } from './resolve.js';
import { readSources } from './sources.js';

const folder = fileURLToPath(new URL('../../../test/descriptors/', import.meta.url));

/**
 * What protoc (libprotoc 35.1) makes of the files beside it, from
 * `protoc -I. --descriptor_set_out=set.bin a/*.proto b/*.proto`: by path, in base64.
 */
const fromProtoc = JSON.parse(readFileSync(`${folder}protoc.json`, 'utf8')) as Record<
  string,
  string
>;

const FileDescriptorProto = protobuf.Root.fromJSON(
  createRequire(import.meta.url)('protobufjs/google/protobuf/descriptor.json'),
).lookupType('google.protobuf.FileDescriptorProto');

interface Message {
  name: string;
  nestedType: Message[];
}

/** The file as an object. Only the order of nested messages means nothing. */
function read(bytes: Uint8Array) {
  const file = FileDescriptorProto.toObject(FileDescriptorProto.decode(bytes), {
    enums: String,
    bytes: String,
  }) as { name: string; dependency: string[]; extension?: unknown; messageType: Message[] };
  const sort = ({ nestedType = [] }: Message) => {
    nestedType.sort((a, b) => (a.name < b.name ? -1 : 1));
    nestedType.forEach(sort);
  };
  file.messageType?.forEach(sort);
  return file;
}

function describe(protos: string) {
  const files = resolveFiles(readSources([protos], []));
  return new Map(files.map(({ path, descriptor }) => [path, descriptor]));
}

const described = describe(`${folder}protos`);

test('the files are those that protoc was given', () => {
  expect([...described.keys()]).toEqual(Object.keys(fromProtoc).sort());
});

test.each(Object.keys(fromProtoc))('%s is described as protoc does', (path) => {
  const bytes = Buffer.from(fromProtoc[path] as string, 'base64');
  expect(read(described.get(path)!.bytes)).toEqual(read(bytes));
});

test('imports are linked in the order of the dependencies', () => {
  const { imports } = described.get('a/one.proto')!;
  expect(imports.map(({ path }) => path)).toEqual([
    'a/pub.proto',
    'google/protobuf/timestamp.proto',
    'b/two.proto',
  ]);
});

test('custom options, and imports for their sake, are left out', () => {
  const { descriptor, path } = resolveFiles(readSources([`${folder}custom.proto`], []))[0]!;
  const file = read(descriptor.bytes);
  expect(path).toBe('custom.proto');
  expect(descriptor.imports).toEqual([]);
  expect(file).not.toHaveProperty('dependency');
  expect(file).not.toHaveProperty('extension');
  expect(file).toMatchObject({ name: 'custom.proto', service: [{ name: 'Noted' }] });
});

test('the well-known types have the names of their contracts', () => {
  expect(read(wrappersFile.bytes)).toMatchObject({
    name: 'google/protobuf/wrappers.proto',
    package: 'google.protobuf',
    syntax: 'proto3',
  });
});
