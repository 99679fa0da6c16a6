import { Status } from 'millrace';
import type { FileDescriptor } from 'millrace/codec';
import type { ServerReflectionRequest, ServerReflectionResponseInit } from 'millrace/reflection';
import type { FileIndex } from './file-index.js';

/** Imports are sent along while a response is smaller than this; a client asks for others by name. */
const RESPONSE_BYTES_MAX = 1024 * 1024;

/** What a server says of itself. */
export interface Reflected {
  readonly index: FileIndex;
  /** Full names, sorted. */
  readonly services: readonly string[];
}

type Answer = NonNullable<ServerReflectionResponseInit['messageResponse']>;

/**
 * Answers one request.
 *
 * @param sent the files that the client of this call has been sent; those sent now are added
 */
export function answer(
  request: ServerReflectionRequest,
  { index, services }: Reflected,
  sent: Set<FileDescriptor>,
): ServerReflectionResponseInit {
  return {
    validHost: request.host,
    originalRequest: request,
    messageResponse: respond(request.messageRequest, index, services, sent),
  };
}

function respond(
  asked: ServerReflectionRequest['messageRequest'],
  index: FileIndex,
  services: readonly string[],
  sent: Set<FileDescriptor>,
): Answer {
  switch (asked?.case) {
    case 'listServices':
      return {
        case: 'listServicesResponse',
        value: { service: services.map((name) => ({ name })) },
      };
    case 'fileByFilename':
      return files(index.file(asked.value), `no file '${asked.value}'`, sent);
    case 'fileContainingSymbol':
      return files(index.fileOf(bare(asked.value)), `no symbol '${asked.value}'`, sent);
    case 'fileContainingExtension': {
      const { containingType, extensionNumber } = asked.value;
      const file = index.fileOfExtension(bare(containingType), extensionNumber);
      return files(file, `no extension ${extensionNumber} of '${containingType}'`, sent);
    }
    case 'allExtensionNumbersOfType': {
      const extensionNumber = index.extensionNumbers(bare(asked.value));
      if (extensionNumber === undefined) return notFound(`no message '${asked.value}'`);
      const value = { baseTypeName: asked.value, extensionNumber };
      return { case: 'allExtensionNumbersResponse', value };
    }
    default:
      return failure(Status.INVALID_ARGUMENT, 'the request asks for nothing that is known');
  }
}

/** Types in descriptors have a leading dot, requests should not. */
function bare(name: string): string {
  return name.startsWith('.') ? name.slice(1) : name;
}

/** The file itself, and what it imports as far as the client does not have it. */
function files(
  wanted: FileDescriptor | undefined,
  otherwise: string,
  sent: Set<FileDescriptor>,
): Answer {
  if (wanted === undefined) return notFound(otherwise);
  const fileDescriptorProto: Uint8Array[] = [];
  let bytes = 0;
  // A Set iterates over what is added meanwhile.
  const queue = new Set([wanted]);
  for (const file of queue) {
    for (const imported of file.imports) if (!sent.has(imported)) queue.add(imported);
    if (file !== wanted && bytes + file.bytes.length > RESPONSE_BYTES_MAX) continue;
    bytes += file.bytes.length;
    sent.add(file);
    fileDescriptorProto.push(file.bytes);
  }
  return { case: 'fileDescriptorResponse', value: { fileDescriptorProto } };
}

function notFound(text: string): Answer {
  return failure(Status.NOT_FOUND, `${text} is known here`);
}

function failure(errorCode: Status, errorMessage: string): Answer {
  return { case: 'errorResponse', value: { errorCode, errorMessage } };
}
