import type { MessageType } from '../codec/message-type.js';
import { type ClientRecordSink, readClientRecords } from './client-records.js';
import { Engine, type EngineSink } from './engine.js';
import type { NativeClientEngine, NativeEngineConstructor, NativeTarget } from './native.js';

/** What the engine of a client calls. */
export interface ClientEngineHandler extends ClientRecordSink, EngineSink {}

/** An engine that calls instead of serving: the same memory and the same batches. */
export class ClientEngine extends Engine<ClientEngineHandler> {
  constructor(
    Native: NativeEngineConstructor,
    options: { readonly sendMessageBytes: number; readonly [name: string]: unknown },
    handler: ClientEngineHandler,
  ) {
    super(Native, { ...options, role: 'client' }, handler, readClientRecords);
  }

  get #client(): NativeClientEngine {
    return this.native as unknown as NativeClientEngine;
  }

  // --- connections ---

  /** Begins to connect; the notice `connection_state` tells what comes of it. */
  open(target: NativeTarget): number {
    return this.#client.open(target);
  }

  /** The connection takes no new call and closes when those under way are over. */
  shut(connection: number): void {
    if (!this.closed) this.#client.shut(connection);
  }

  /** The connection closes at once. */
  abort(connection: number): void {
    if (!this.closed) this.#client.abort(connection);
  }

  // --- calls ---

  /** Begins a call with its only request. Nothing has begun when this throws. */
  sendRequest<Init>(
    call: number,
    connection: number,
    method: number,
    timeoutMs: number,
    encoding: number,
    block: Uint8Array | undefined,
    type: MessageType<unknown, Init>,
    message: Init,
  ): void {
    this.operations.request(call, connection, method, timeoutMs, encoding, block, type, message);
  }

  /** Begins a call whose requests follow. */
  startCall(
    call: number,
    connection: number,
    method: number,
    timeoutMs: number,
    encoding: number,
    block: Uint8Array | undefined,
  ): void {
    this.operations.startCall(call, connection, method, timeoutMs, encoding, block);
  }

  /** Sends an encoded message; returns the bytes that wait in the arena for it. */
  sendEncoded(call: number, bytes: Uint8Array): number {
    return this.operations.encoded(call, bytes);
  }

  sayEnd(call: number): void {
    this.operations.endRequests(call);
  }

  sayCancel(call: number, code: number): void {
    this.operations.cancel(call, code);
  }

  /** The block of the response headers' custom metadata. */
  headersBlock(call: number): Uint8Array | null {
    return this.closed ? null : this.native.metadata(call);
  }

  /** The block of the status message and the trailers. */
  statusBlock(call: number): Uint8Array | null {
    return this.closed ? null : this.#client.status(call);
  }
}
