import { fileURLToPath } from 'node:url';
import { Status } from 'millrace';
import { type FileDescriptor, file, fromBinary } from 'millrace/codec';
import { FileDescriptorProto } from 'millrace/descriptors';
import type { ServerReflectionRequest } from 'millrace/reflection';
import { describe, expect, test } from 'vitest';
import { answer } from './answer.js';
import { FileIndex } from './file-index.js';
import { generated } from './generated.test-support.js';

const protos = fileURLToPath(new URL('../test/protos', import.meta.url));
const { extendedFile, libraryFile } = await generated(protos, ['test/extended', 'test/library']);
const reflected = {
  index: new FileIndex([libraryFile, extendedFile] as FileDescriptor[]),
  services: ['grpc.reflection.v1.ServerReflection', 'test.library.Library'],
};

type Asked = NonNullable<ServerReflectionRequest['messageRequest']>;

function ask(messageRequest: Asked | undefined, sent = new Set<FileDescriptor>()) {
  const request = { host: 'here', messageRequest };
  const response = answer(request, reflected, sent);
  expect(response).toMatchObject({ validHost: 'here', originalRequest: request });
  return response.messageResponse;
}

/** The paths of the files in the answer. */
function paths(messageRequest: Asked, sent = new Set<FileDescriptor>()): unknown {
  const response = ask(messageRequest, sent);
  if (response?.case !== 'fileDescriptorResponse') return response;
  return response.value.fileDescriptorProto?.map(
    (bytes) => fromBinary(FileDescriptorProto, bytes as Uint8Array).name,
  );
}

const library = ['test/library.proto', 'test/shelf.proto', 'google/protobuf/timestamp.proto'];

function notFound(errorMessage: string) {
  return { case: 'errorResponse', value: { errorCode: Status.NOT_FOUND, errorMessage } };
}

test('services', () => {
  expect(ask({ case: 'listServices', value: '*' })).toEqual({
    case: 'listServicesResponse',
    value: { service: reflected.services.map((name) => ({ name })) },
  });
});

describe('files', () => {
  test('by name, with their imports', () => {
    expect(paths({ case: 'fileByFilename', value: 'test/library.proto' })).toEqual(library);
    expect(paths({ case: 'fileByFilename', value: 'google/protobuf/timestamp.proto' })).toEqual([
      'google/protobuf/timestamp.proto',
    ]);
    expect(paths({ case: 'fileByFilename', value: 'other.proto' })).toEqual(
      notFound("no file 'other.proto' is known here"),
    );
  });

  test('imports are sent once a call; what is asked for is sent always', () => {
    const sent = new Set<FileDescriptor>();
    expect(paths({ case: 'fileByFilename', value: 'test/shelf.proto' }, sent)).toEqual([
      'test/shelf.proto',
    ]);
    expect(paths({ case: 'fileByFilename', value: 'test/library.proto' }, sent)).toEqual([
      'test/library.proto',
      'google/protobuf/timestamp.proto',
    ]);
    expect(paths({ case: 'fileByFilename', value: 'test/library.proto' }, sent)).toEqual([
      'test/library.proto',
    ]);
  });

  test('imports that would make an answer too large are left to be asked for', () => {
    const large = file('large.proto', [], 'A'.repeat(1_500_000));
    const small = file('small.proto', [], 'CgtzbWFsbC5wcm90bw==');
    const whole = file('whole.proto', [large, small], 'Cgt3aG9sZS5wcm90bw==');
    const index = { file: () => whole } as unknown as FileIndex;
    const asked = { case: 'fileByFilename', value: 'whole.proto' } as const;
    const request = { host: '', messageRequest: asked };
    const response = answer(request, { index, services: [] }, new Set()).messageResponse;
    expect(response).toEqual({
      case: 'fileDescriptorResponse',
      value: { fileDescriptorProto: [whole.bytes, small.bytes] },
    });
  });
});

describe('symbols', () => {
  test.each([
    'Book',
    'Book.title',
    'Book.subtitle',
    'Book._subtitle',
    'Book.owner',
    'Book.company',
    'Book.ShelvesEntry',
    'Book.Page',
    'Book.Page.side',
    'Book.Page.Side',
    'Book.Page.SIDE_LEFT',
    'Genre',
    'GENRE_NOVEL',
    'Library',
    'Library.Lend',
  ])('%s', (symbol) => {
    const value = `test.library.${symbol}`;
    expect(paths({ case: 'fileContainingSymbol', value })).toEqual(library);
    expect(paths({ case: 'fileContainingSymbol', value: `.${value}` })).toEqual(library);
  });

  test('of imported files', () => {
    const value = 'test.library.Shelf';
    expect(paths({ case: 'fileContainingSymbol', value })).toEqual(['test/shelf.proto']);
  });

  test.each(['', 'test.library', 'test.library.Genre.GENRE_NOVEL', 'test.library.Book.none'])(
    "'%s' is none",
    (value) => {
      expect(paths({ case: 'fileContainingSymbol', value })).toEqual(
        notFound(`no symbol '${value}' is known here`),
      );
    },
  );
});

describe('extensions', () => {
  const containingType = 'test.extended.Open';

  test('by number', () => {
    const value = { containingType, extensionNumber: 101 };
    expect(paths({ case: 'fileContainingExtension', value })).toEqual(['test/extended.proto']);
    const other = { containingType, extensionNumber: 103 };
    expect(paths({ case: 'fileContainingExtension', value: other })).toEqual(
      notFound("no extension 103 of 'test.extended.Open' is known here"),
    );
  });

  test('all of a type', () => {
    expect(ask({ case: 'allExtensionNumbersOfType', value: containingType })).toEqual({
      case: 'allExtensionNumbersResponse',
      value: { baseTypeName: containingType, extensionNumber: [101, 102] },
    });
    expect(ask({ case: 'allExtensionNumbersOfType', value: 'test.library.Book' })).toEqual({
      case: 'allExtensionNumbersResponse',
      value: { baseTypeName: 'test.library.Book', extensionNumber: [] },
    });
    expect(ask({ case: 'allExtensionNumbersOfType', value: 'test.None' })).toEqual(
      notFound("no message 'test.None' is known here"),
    );
  });
});

test('a request for nothing', () => {
  expect(ask(undefined)).toMatchObject({ value: { errorCode: Status.INVALID_ARGUMENT } });
});
