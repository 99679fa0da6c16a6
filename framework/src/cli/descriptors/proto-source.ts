import { fromBinary } from '../../codec/index.js';
import { FileDescriptorProto } from '../../gen/google/protobuf/descriptor.js';
import { CliError } from '../cli-error.js';
import { GenerateError } from '../generate/generate-error.js';
import { resolveFiles } from '../generate/resolve.js';
import { readSources } from '../generate/sources.js';
import { render } from '../proto/diagnostic.js';
import type { DescriptorSource } from './descriptor-source.js';

/** .proto files and what they import. */
export class ProtoSource implements DescriptorSource {
  readonly name: string;
  readonly #byPath = new Map<string, Uint8Array>();
  readonly #bySymbol = new Map<string, Uint8Array>();
  readonly #services: string[] = [];

  /** @throws CliError naming file, line and column */
  constructor(files: readonly string[], importPaths: readonly string[]) {
    this.name = files.join(', ');
    for (const { path, descriptor } of resolved(files, importPaths)) {
      this.#byPath.set(path, descriptor.bytes);
      const declared = fromBinary(FileDescriptorProto, descriptor.bytes);
      const full = (name = '') => (declared.package ? `${declared.package}.${name}` : name);
      for (const { name } of declared.service) this.#services.push(full(name));
      for (const { name } of [...declared.service, ...declared.messageType, ...declared.enumType]) {
        this.#bySymbol.set(full(name), descriptor.bytes);
      }
    }
  }

  async services(): Promise<readonly string[]> {
    return this.#services.toSorted();
  }

  async fileOfSymbol(symbol: string): Promise<readonly Uint8Array[] | undefined> {
    // A nested message is in the file of the message around it.
    for (let name = symbol; name !== ''; name = name.slice(0, Math.max(name.lastIndexOf('.'), 0))) {
      const bytes = this.#bySymbol.get(name);
      if (bytes !== undefined) return [bytes];
    }
    return undefined;
  }

  async fileByPath(path: string): Promise<readonly Uint8Array[] | undefined> {
    const bytes = this.#byPath.get(path);
    return bytes && [bytes];
  }
}

function resolved(files: readonly string[], importPaths: readonly string[]) {
  try {
    return resolveFiles(readSources(files, importPaths));
  } catch (error) {
    if (!(error instanceof GenerateError)) throw error;
    throw new CliError(error.diagnostics.map(render).join('\n'), { cause: error });
  }
}
