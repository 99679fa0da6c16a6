import { type FileDescriptor, fromBinary } from 'millrace/codec';
import {
  type DescriptorProto,
  type EnumDescriptorProto,
  type FieldDescriptorProto,
  FileDescriptorProto,
} from 'millrace/descriptors';

/** Which file declares what, over some files and all that they import. */
export class FileIndex {
  readonly #byPath = new Map<string, FileDescriptor>();
  readonly #bySymbol = new Map<string, FileDescriptor>();
  /** By the full name of the message that is extended, then by number. */
  readonly #extensions = new Map<string, Map<number, FileDescriptor>>();

  constructor(files: Iterable<FileDescriptor>) {
    for (const file of files) this.#add(file);
  }

  /** The file of that import path. */
  file(path: string): FileDescriptor | undefined {
    return this.#byPath.get(path);
  }

  /** The file that declares a message, enum, service, extension, method, field, oneof or enum value. */
  fileOf(symbol: string): FileDescriptor | undefined {
    return this.#bySymbol.get(symbol);
  }

  fileOfExtension(message: string, number: number): FileDescriptor | undefined {
    return this.#extensions.get(message)?.get(number);
  }

  /** Ascending; `undefined` for something that is no known message. */
  extensionNumbers(message: string): number[] | undefined {
    const numbers = this.#extensions.get(message)?.keys();
    return numbers && [...numbers].sort((a, b) => a - b);
  }

  #add(file: FileDescriptor): void {
    if (this.#byPath.has(file.path)) return;
    this.#byPath.set(file.path, file);
    for (const imported of file.imports) this.#add(imported);
    const declared = fromBinary(FileDescriptorProto, file.bytes);
    const scope = declared.package ?? '';
    for (const message of declared.messageType) this.#addMessage(message, scope, file);
    for (const declaredEnum of declared.enumType) this.#addEnum(declaredEnum, scope, file);
    for (const extension of declared.extension) this.#addExtension(extension, scope, file);
    for (const { name, method } of declared.service) {
      const service = this.#name(scope, name, file);
      for (const { name: methodName } of method) this.#name(service, methodName, file);
    }
  }

  #addMessage(message: DescriptorProto, scope: string, file: FileDescriptor): void {
    const name = this.#name(scope, message.name, file);
    if (!this.#extensions.has(name)) this.#extensions.set(name, new Map());
    for (const field of message.field) this.#name(name, field.name, file);
    for (const oneof of message.oneofDecl) this.#name(name, oneof.name, file);
    for (const nested of message.nestedType) this.#addMessage(nested, name, file);
    for (const nested of message.enumType) this.#addEnum(nested, name, file);
    for (const extension of message.extension) this.#addExtension(extension, name, file);
  }

  /** The values of an enum are names beside it, not in it. */
  #addEnum(declared: EnumDescriptorProto, scope: string, file: FileDescriptor): void {
    this.#name(scope, declared.name, file);
    for (const value of declared.value) this.#name(scope, value.name, file);
  }

  #addExtension(extension: FieldDescriptorProto, scope: string, file: FileDescriptor): void {
    this.#name(scope, extension.name, file);
    const extended = (extension.extendee ?? '').replace(/^\./, '');
    const numbers = this.#extensions.get(extended) ?? new Map<number, FileDescriptor>();
    this.#extensions.set(extended, numbers.set(extension.number ?? 0, file));
  }

  #name(scope: string, name = '', file: FileDescriptor): string {
    const symbol = scope === '' ? name : `${scope}.${name}`;
    if (!this.#bySymbol.has(symbol)) this.#bySymbol.set(symbol, file);
    return symbol;
  }
}
