/** A .proto file as its generated module describes it, for reflection. */
export interface FileDescriptor {
  /** As other files import it: `millrace/echo/v1/echo.proto`. */
  readonly path: string;
  /** The files that it imports. */
  readonly imports: readonly FileDescriptor[];
  /** The serialized google.protobuf.FileDescriptorProto; decoded from base64 at the first use. */
  readonly bytes: Uint8Array;
}

/** What a generated module describes its file with. @internal */
export function file(
  path: string,
  imports: readonly FileDescriptor[],
  base64: string,
): FileDescriptor {
  let bytes: Uint8Array | undefined;
  return {
    path,
    imports,
    get bytes() {
      bytes ??= new Uint8Array(Buffer.from(base64, 'base64'));
      return bytes;
    },
  };
}
