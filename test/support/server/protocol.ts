// What a test and the server under test say to each other over the IPC channel.

/** Given to the server as JSON in MILLRACE_TEST. */
export interface ServerConfiguration {
  readonly limits?: Record<string, number>;
  readonly threads?: number;
  readonly signals?: boolean;
  readonly logLevel?: string;
  /** Further options of `serve`, by their names. */
  readonly serve?: Record<string, unknown>;
  /** What is served: echo unless this says otherwise. */
  readonly services?: 'pubsub';
  /** Passes every call on to this server instead of answering it. */
  readonly forwardTo?: { readonly target: string; readonly limits?: Record<string, number> };
  /** A file to which the text of each unary call is appended when its handler begins. */
  readonly journal?: string;
}

/** What the handlers counted since the server started. */
export interface HandlerCounters {
  /** Calls that reached a handler. */
  started: number;
  /** Calls whose signal aborted while their handler ran. */
  aborted: number;
  /** Handlers that came to their end. */
  ended: number;
  /** Handlers that were ended by a cancellation before their signal had aborted: must stay 0. */
  endedBeforeAbort: number;
  /** Request streams that ended regularly before all announced messages came: must stay 0. */
  truncated: number;
  /** Messages yielded or written after the signal had aborted. */
  wroteAfterAbort: number;
  /** Messages that handlers consumed. */
  consumed: number;
  /** Calls in callback form that were told of their end. */
  closed: number;
  /** The reasons (status codes) of aborted signals, and how often each. */
  reasons: Record<number, number>;
}

export type Question =
  | 'stats'
  /** Figures of the connection that calls are passed on by. */
  | 'forwarding'
  | 'counters'
  /** Collects garbage and answers with the heap in use. */
  | 'memory'
  /** Lets handlers in the modes `ignore`, `gate` and `gated-pull` go on, and those that come later. */
  | 'release'
  /** Reads certificates and key again. */
  | 'reload'
  | 'close';

export interface Asked {
  readonly id: number;
  readonly question: Question;
}

export interface Answered {
  readonly id: number;
  readonly answer: unknown;
  readonly error?: string;
}

export interface Listening {
  readonly listening: { readonly port: number; readonly driver: string };
}
