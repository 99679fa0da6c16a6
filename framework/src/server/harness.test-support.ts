import { pino } from 'pino';
import { Engine } from '../bridge/engine.js';
import { FakeNative } from '../bridge/fake-native.js';
import type { NativeCallbacks } from '../bridge/native.js';
import { HeapWriter } from '../codec/arena-writer.js';
import { EncodeError } from '../codec/errors.js';
import type { MessageType } from '../codec/message-type.js';
import { Reader } from '../codec/reader.js';
import type { Interceptor } from '../interceptors/interceptor.js';
import type { ServiceDescriptor } from '../service/descriptor.js';
import type { Service } from '../service/service.js';
import { Dispatcher } from './dispatch.js';
import { routesOf } from './route.js';

/** The message of the tests: `message Note { string text = 1; bytes data = 2; }`. */
export interface Note {
  text: string;
  data: Uint8Array;
}

export interface NoteInit {
  text?: string;
  data?: Uint8Array;
}

export const Note: MessageType<Note, NoteInit> = {
  typeName: 'test.Note',
  encode(message, writer) {
    if (message.text !== undefined) {
      if (typeof message.text !== 'string') throw new EncodeError('no string', 'Note', 'text');
      writer.string(10, message.text);
    }
    if (message.data !== undefined) writer.bytesField(18, message.data);
  },
  decode(reader, length) {
    const end = reader.pos + length;
    const note: Note = { text: '', data: new Uint8Array(0) };
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === 10) note.text = reader.string();
      else if (tag === 18) note.data = reader.bytesField();
      else reader.skip(tag);
    }
    return note;
  },
  create: (init) => ({ text: '', data: new Uint8Array(0), ...init }),
  equals: (a, b) => a.text === b.text,
  toJson: (message) => message.text,
  fromJson: (json) => ({ text: String(json), data: new Uint8Array(0) }),
};

export const Notes = {
  typeName: 'test.Notes',
  methods: {
    one: { name: 'One', path: '/test.Notes/One', kind: 'unary', input: Note, output: Note },
    gather: {
      name: 'Gather',
      path: '/test.Notes/Gather',
      kind: 'client-streaming',
      input: Note,
      output: Note,
    },
    spread: {
      name: 'Spread',
      path: '/test.Notes/Spread',
      kind: 'server-streaming',
      input: Note,
      output: Note,
    },
    chat: { name: 'Chat', path: '/test.Notes/Chat', kind: 'bidi', input: Note, output: Note },
  },
} as const satisfies ServiceDescriptor;

export function encoded(note: NoteInit): Uint8Array {
  const writer = new HeapWriter();
  writer.begin();
  Note.encode(note, writer);
  return writer.copy();
}

export function decoded(bytes: Uint8Array): Note {
  return Note.decode(new Reader().set(bytes, 0, bytes.length), bytes.length);
}

/** A status block: its message, and what follows it. */
export function statusMessage(bytes: Uint8Array): string {
  if (bytes.length === 0) return '';
  const view = new DataView(bytes.buffer, bytes.byteOffset, bytes.byteLength);
  return Buffer.from(bytes.subarray(4, 4 + view.getUint32(0, true))).toString('utf8');
}

export interface LogLine {
  readonly level: number;
  readonly msg: string;
  readonly [field: string]: unknown;
}

export interface Harness {
  readonly native: FakeNative;
  readonly dispatcher: Dispatcher;
  readonly logs: LogLine[];
  /** Method ids by name. */
  id(name: string): number;
}

/** A dispatcher over a fake engine. */
export function harness(
  services: readonly Service[],
  options: {
    graceMs?: number;
    sendMessageBytes?: number;
    interceptors?: readonly Interceptor[];
    sizes?: ConstructorParameters<typeof FakeNative>[2];
  } = {},
): Harness {
  const logs: LogLine[] = [];
  const logger = pino({ level: 'debug' }, { write: (line: string) => logs.push(JSON.parse(line)) });
  const routes = routesOf(services, options.interceptors ?? []);
  const dispatcher = new Dispatcher(routes, logger, options.graceMs ?? 5000, () => {});
  let native: FakeNative | undefined;
  class Native extends FakeNative {
    constructor(given: object, callbacks: NativeCallbacks) {
      super(given, callbacks, options.sizes);
      native = this;
    }
  }
  const engine = new Engine(
    Native,
    { sendMessageBytes: options.sendMessageBytes ?? 4 << 20 },
    dispatcher,
  );
  dispatcher.attach(engine);
  return {
    native: native!,
    dispatcher,
    logs,
    id: (name) => routes.findIndex((route) => route.name === name),
  };
}
