import type { MessageType } from '../codec/message-type.js';
import type { Encoding } from '../context/compression.js';
import type { MethodInfo } from '../context/context.js';
import type { MethodDescriptor, MethodKind } from '../service/descriptor.js';
import { type CheckedServiceConfig, configOf, type MethodConfig } from './service-config.js';
import type { ClientThread } from './thread.js';

/** A method as a client calls it. */
export class ClientMethod implements MethodInfo {
  readonly service: string;
  readonly name: string;
  readonly path: string;
  readonly kind: MethodKind;
  // biome-ignore lint/suspicious/noExplicitAny: a client mixes message types
  readonly input: MessageType<any, any>;
  // biome-ignore lint/suspicious/noExplicitAny: as above
  readonly output: MessageType<any, any>;
  readonly config: MethodConfig | undefined;
  /** Of requests, unless their call says otherwise. */
  readonly encoding: Encoding;
  /** The number of the method for `#thread`. */
  #id = -1;
  #thread: ClientThread | undefined;

  constructor(
    service: string,
    descriptor: MethodDescriptor,
    config: CheckedServiceConfig | undefined,
    encoding: Encoding = 'identity',
  ) {
    this.service = service;
    this.name = descriptor.name;
    this.path = descriptor.path;
    this.kind = descriptor.kind;
    this.input = descriptor.input;
    this.output = descriptor.output;
    this.config = configOf(config, service, descriptor.name);
    this.encoding = encoding;
  }

  idFor(thread: ClientThread): number {
    if (this.#thread !== thread) {
      this.#thread = thread;
      this.#id = thread.methodId(this.path, this.kind);
    }
    return this.#id;
  }
}
