import type { CallOptions } from '../../client/call-options.js';
import { connect } from '../../client/client.js';
import type { Connection } from '../../client/connection.js';
import type { DuplexCall } from '../../client/stream-call.js';
import {
  type ServerReflectionRequestInit,
  type ServerReflectionResponse,
  ServerReflection as V1,
} from '../../gen/grpc/reflection/v1/reflection.js';
import { ServerReflection as V1Alpha } from '../../gen/grpc/reflection/v1alpha/reflection.js';
import { Status } from '../../status/status.js';
import { StatusError } from '../../status/status-error.js';
import { CliError, ExitCode } from '../cli-error.js';
import type { DescriptorSource } from './descriptor-source.js';

type Question = NonNullable<ServerReflectionRequestInit['messageRequest']>;
type Answer = NonNullable<ServerReflectionResponse['messageResponse']>;
/** Of either version: their messages are the same. */
type ReflectionCall = DuplexCall<ServerReflectionRequestInit, ServerReflectionResponse>;

/**
 * What a server says of itself by the reflection protocol, version v1 or, where that is missing,
 * v1alpha. Questions go through one call, which stays open until `close`; another, once it has ended.
 *
 * Source: https://github.com/grpc/grpc/blob/master/doc/server-reflection.md
 *
 * The methods throw a StatusError where the call fails, and a CliError where there is no reflection.
 */
export class ReflectionSource implements DescriptorSource {
  readonly name: string;
  readonly #connection: Connection;
  readonly #options: CallOptions;
  #call: ReflectionCall | undefined;

  constructor(connection: Connection, options: CallOptions) {
    this.name = `the server at ${connection.target}`;
    this.#connection = connection;
    this.#options = options;
  }

  async services(): Promise<readonly string[]> {
    const answer = await this.#ask({ case: 'listServices', value: '*' });
    if (answer?.case !== 'listServicesResponse') return [];
    return answer.value.service.map(({ name }) => name).sort();
  }

  fileOfSymbol(symbol: string): Promise<readonly Uint8Array[] | undefined> {
    return this.#files({ case: 'fileContainingSymbol', value: symbol });
  }

  fileByPath(path: string): Promise<readonly Uint8Array[] | undefined> {
    return this.#files({ case: 'fileByFilename', value: path });
  }

  close(): void {
    this.#call?.cancel();
  }

  async #files(question: Question): Promise<readonly Uint8Array[] | undefined> {
    const answer = await this.#ask(question);
    return answer?.case === 'fileDescriptorResponse' ? answer.value.fileDescriptorProto : undefined;
  }

  /** `undefined`: the server does not know what was asked for. */
  async #ask(question: Question): Promise<Answer | undefined> {
    const answer = (await this.#exchange(question)).messageResponse;
    if (answer?.case !== 'errorResponse') return answer;
    const { errorCode, errorMessage } = answer.value;
    if (errorCode === Status.NOT_FOUND) return undefined;
    throw new StatusError(errorCode as Status, `reflection: ${errorMessage}`);
  }

  async #exchange(question: Question): Promise<ServerReflectionResponse> {
    if (this.#call !== undefined) {
      try {
        return await exchange(this.#call, question);
      } catch (error) {
        // A call that has been open for long may be over: its deadline, or the age of its connection.
        if (!StatusError.is(error)) throw error;
      }
    }
    for (const version of [V1, V1Alpha] as const) {
      const client = connect(version as typeof V1, this.#connection);
      const call: ReflectionCall = client.serverReflectionInfo(undefined, this.#options);
      try {
        const response = await exchange(call, question);
        this.#call = call;
        return response;
      } catch (error) {
        if (!StatusError.is(error) || error.code !== Status.UNIMPLEMENTED) throw error;
      }
    }
    throw new CliError(`${this.name} has no reflection, so it cannot say what it serves.`, {
      remedy:
        'Name a .proto file with --proto, or turn reflection on (with Millrace: services: [..., reflection()]).',
      exitCode: ExitCode.STATUS + Status.UNIMPLEMENTED,
    });
  }
}

async function exchange(
  call: ReflectionCall,
  question: Question,
): Promise<ServerReflectionResponse> {
  call.write({ messageRequest: question });
  const { value, done } = await call.next();
  if (done === true) {
    throw new StatusError(Status.UNKNOWN, 'the server ended the reflection call without an answer');
  }
  return value;
}
