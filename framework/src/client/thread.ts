import { ClientEngine, type ClientEngineHandler } from '../bridge/client-engine.js';
import { MethodCode, type Notice } from '../bridge/engine.js';
import { loadNative, type NativeEngineConstructor, type NativeTarget } from '../bridge/native.js';
import type { MethodKind } from '../service/descriptor.js';

/** What arrives for one attempt of a call. None of these may throw. */
export interface AttemptSink {
  response(flags: number): void;
  message(slot: number): void;
  reply(flags: number, slot: number, bits: number): void;
  status(code: number, bits: number): void;
  /** Another request may be sent. */
  resume(): void;
}

/**
 * What happens to a connection. It may fail after it was ready: a server that goes away with an
 * error before the first call.
 */
export interface ConnectionSink {
  connectionState(state: ConnectionState, message: string, about: ConnectionEnd): void;
}
/** What is known of a connection that takes no more calls. */
export interface ConnectionEnd {
  /** The server says that keepalive PINGs come too often. */
  readonly tooManyPings: boolean;
  /** It had answered a call. */
  readonly answered: boolean;
}
export type ConnectionState = 'ready' | 'failed' | 'draining' | 'closed';

/** The engine's options, as they are handed to native code. */
export type EngineOptions = Readonly<Record<string, number | string>> & {
  readonly sendMessageBytes: number;
};

/** No call: all references are below. */
export const NO_CALL = -1;

/** The engines of this JavaScript thread, one for each set of options in use. */
const threads = new Map<string, ClientThread>();

/**
 * The client side of this JavaScript thread: one engine that all channels share, and the table of
 * calls by which its records find their way.
 */
export class ClientThread implements ClientEngineHandler {
  readonly #key: string;
  readonly #options: EngineOptions;
  readonly #load: () => Promise<NativeEngineConstructor>;
  #loading: Promise<ClientEngine> | undefined;
  #users = 0;
  #closed = false;
  /** Set once `start` has resolved. */
  engine!: ClientEngine;
  /** By index; a stale reference does not match the generation that is there now. */
  #sinks: (AttemptSink | undefined)[] = [];
  #generations = new Uint16Array(0);
  /** Indexes that are free, a stack. */
  #free = new Uint16Array(0);
  #freeCount = 0;
  readonly #methods = new Map<string, number>();
  readonly #connections = new Map<number, ConnectionSink>();

  /** The thread's engine for these options; every channel takes it once and leaves it once. */
  static take(options: EngineOptions): ClientThread {
    const key = JSON.stringify(options);
    let thread = threads.get(key);
    if (thread === undefined) {
      thread = new ClientThread(key, options, loadNative);
      threads.set(key, thread);
    }
    thread.#users++;
    return thread;
  }

  /** An engine of its own, over what `load` gives: for tests. */
  static over(load: () => Promise<NativeEngineConstructor>, options: EngineOptions): ClientThread {
    const thread = new ClientThread('', options, load);
    thread.#users++;
    return thread;
  }

  private constructor(
    key: string,
    options: EngineOptions,
    load: () => Promise<NativeEngineConstructor>,
  ) {
    this.#key = key;
    this.#options = options;
    this.#load = load;
  }

  /** Makes the engine when it is first needed. @throws what the native module throws */
  start(): Promise<ClientEngine> {
    this.#loading ??= this.#start();
    return this.#loading;
  }

  async #start(): Promise<ClientEngine> {
    const Native = await this.#load();
    const engine = new ClientEngine(Native, this.#options, this);
    const capacity = engine.callCapacity;
    this.#sinks = new Array(capacity).fill(undefined);
    this.#generations = new Uint16Array(capacity);
    this.#free = Uint16Array.from({ length: capacity }, (_, index) => capacity - 1 - index);
    this.#freeCount = capacity;
    this.engine = engine;
    if (this.#closed) engine.close();
    return engine;
  }

  /** The last one closes the engine. */
  leave(): void {
    if (--this.#users > 0) return;
    this.#closed = true;
    if (threads.get(this.#key) === this) threads.delete(this.#key);
    this.engine?.close();
  }

  get closed(): boolean {
    return this.#closed;
  }

  // --- methods ---

  /** The number of a method for this engine. */
  methodId(path: string, kind: MethodKind): number {
    const key = `${kind} ${path}`;
    let id = this.#methods.get(key);
    if (id === undefined) {
      id = this.engine.register([{ path, kind: MethodCode[kind] }]);
      this.#methods.set(key, id);
    }
    return id;
  }

  // --- calls ---

  /** A reference for a new attempt; NO_CALL when the table is full. */
  begin(sink: AttemptSink): number {
    if (this.#freeCount === 0) return NO_CALL;
    const index = this.#free[--this.#freeCount]!;
    this.#sinks[index] = sink;
    return index + this.#generations[index]! * 0x10000;
  }

  /** Whoever takes an attempt over. */
  adopt(reference: number, sink: AttemptSink): void {
    this.#sinks[reference & 0xffff] = sink;
  }

  /** The attempt is over, and nothing of it will be read any more. */
  end(reference: number): void {
    if (!this.#closed) this.engine.sayRelease(reference);
    this.abandon(reference);
  }

  /** The attempt has never reached the engine. */
  abandon(reference: number): void {
    const index = reference & 0xffff;
    this.#sinks[index] = undefined;
    this.#generations[index]!++;
    this.#free[this.#freeCount++] = index;
  }

  #find(reference: number): AttemptSink | undefined {
    const index = reference & 0xffff;
    return this.#generations[index] === reference >>> 16 ? this.#sinks[index] : undefined;
  }

  response(call: number, flags: number): void {
    this.#find(call)?.response(flags);
  }

  message(call: number, slot: number): void {
    this.#find(call)?.message(slot);
  }

  reply(call: number, flags: number, slot: number, bits: number): void {
    this.#find(call)?.reply(flags, slot, bits);
  }

  status(call: number, code: number, bits: number): void {
    this.#find(call)?.status(code, bits);
  }

  writable(call: number): void {
    this.#find(call)?.resume();
  }

  // --- connections ---

  /** Begins to connect. @throws Error for an address that native code cannot read */
  open(target: NativeTarget, sink: ConnectionSink): number {
    const connection = this.engine.open(target);
    this.#connections.set(connection, sink);
    return connection;
  }

  notice(notice: Notice): void {
    if (notice.event !== 'connection_state') return;
    const connection = notice['connection'] as number;
    const state = notice['state'] as ConnectionState;
    const sink = this.#connections.get(connection);
    if (state === 'failed' || state === 'closed') this.#connections.delete(connection);
    sink?.connectionState(state, notice.message, {
      tooManyPings: notice['tooManyPings'] === true,
      answered: notice['answered'] === true,
    });
  }
}
