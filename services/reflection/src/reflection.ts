import { type AttachedServices, attach, type ServiceHost, service } from 'millrace';
import type { FileDescriptor } from 'millrace/codec';
import {
  type ServerReflectionRequest,
  ServerReflection as V1,
  ServerReflectionV1Alpha as V1Alpha,
} from 'millrace/reflection';
import { answer, type Reflected } from './answer.js';

/** What `reflection` takes. */
export interface ReflectionOptions {
  /**
   * Files beside those of the services and what these import: files with extensions, or with messages
   * that travel in a google.protobuf.Any. Each generated module exports its own (`echoFile` of
   * `echo.proto`).
   */
  readonly files?: readonly FileDescriptor[];
}

/**
 * Server reflection by the protocol of gRPC, grpc.reflection.v1 and v1alpha, for clients without
 * .proto files: `serve({ services: [echo, reflection()] })`.
 *
 * Says what the server serves to everyone who may call it. With threads, export it from the services
 * module.
 */
export function reflection(options: ReflectionOptions = {}): AttachedServices {
  return {
    [attach](host) {
      let reflected: Promise<Reflected> | undefined;
      const reflect = async function* (requests: AsyncIterable<ServerReflectionRequest>) {
        const sent = new Set<FileDescriptor>();
        for await (const request of requests) {
          // Most servers are never asked.
          reflected ??= reflectedOf(host, options.files ?? []);
          yield answer(request, await reflected, sent);
        }
      };
      return [
        service(V1, { serverReflectionInfo: reflect }),
        service(V1Alpha, { serverReflectionInfo: reflect }),
      ];
    },
  };
}

async function reflectedOf(
  { services }: ServiceHost,
  further: readonly FileDescriptor[],
): Promise<Reflected> {
  // With the codecs of descriptors, which are large.
  const { FileIndex } = await import('./file-index.js');
  const files = services.flatMap(({ file }) => (file === undefined ? [] : [file]));
  return {
    index: new FileIndex([...files, ...further]),
    services: services.map(({ typeName }) => typeName).sort(),
  };
}
