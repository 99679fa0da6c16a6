/** Where descriptions of services come from: a server's reflection, or .proto files. */
export interface DescriptorSource {
  /** For sentences: `the server at localhost:50051`. */
  readonly name: string;
  /** The full names of all services, sorted. */
  services(): Promise<readonly string[]>;
  /**
   * The serialized FileDescriptorProto of the file that declares a service, method, message or enum,
   * and perhaps of files that it imports; `undefined` if there is none.
   */
  fileOfSymbol(symbol: string): Promise<readonly Uint8Array[] | undefined>;
  /** The same by the path of the file. */
  fileByPath(path: string): Promise<readonly Uint8Array[] | undefined>;
}
