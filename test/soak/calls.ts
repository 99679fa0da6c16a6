// One call of the soak: chosen at random, made, verified, and its end judged by what its plan allows.

import { setTimeout as delay } from 'node:timers/promises';
import { type CallOptions, Status, StatusError, statusName } from 'millrace';
import { type Content, replyKey, requestKey, SIZES, writeLabel } from '../support/content.js';
import type { Random } from '../support/random.js';
import type { Fleet } from './fleet.js';
import type { Ledger } from './ledger.js';
import type { Line } from './lines.js';

const KINDS = ['say', 'collect', 'upload', 'expand', 'chat', 'chatFast', 'duplex'] as const;
type Kind = (typeof KINDS)[number];

/** What is special about a call. */
type Turn =
  | 'plain'
  /** Its deadline may pass before it is answered. */
  | 'short deadline'
  /** Its signal aborts at some moment, perhaps too late. */
  | 'signal'
  /** Its reader leaves, or its call object is cancelled. */
  | 'leaves'
  /** Its server replies before it has read everything. */
  | 'early reply'
  /** Its source of requests throws. */
  | 'source throws'
  /** Its server fails it. */
  | 'fails'
  /** Its server turns it away, and it is retried. */
  | 'refused';

/** Nothing but a short deadline may ever pass. */
const LONG_DEADLINE_MS = 60_000;
/** A timer may be early by its granularity. */
const EARLY_MS = 3;
/** How late a deadline may be noticed on a busy machine. */
const LATE_MS = 5000;

class SourceError extends Error {}

interface Plan {
  readonly name: string;
  readonly kind: Kind;
  readonly turn: Turn;
  readonly lengths: readonly { readonly length: number; readonly replyLength: number }[];
  readonly options: CallOptions;
  /** Says to the server what is asked of it. */
  readonly metadata: { readonly [name: string]: string };
  /** Milliseconds; only with a short deadline. */
  readonly timeoutMs: number;
  readonly failsWith: number;
  /** After so many replies the reader leaves. */
  readonly leaveAfter: number;
  /** The server replies after so many requests. */
  readonly enough: number;
  /** Before this request the source throws. */
  readonly throwAt: number;
  readonly slowReader: boolean;
}

interface Message {
  readonly text: string;
  readonly data: Uint8Array;
}

/** What all calls have in common. */
export interface Surroundings {
  readonly content: Content;
  readonly ledger: Ledger;
  readonly fleet: Fleet;
  readonly lines: readonly Line[];
}

/** A call that is about to be made. */
export interface Chosen {
  readonly description: string;
  /** Makes it, to its end. Never rejects. */
  run(): Promise<void>;
}

export function chooseCall(around: Surroundings, choose: Random, name: string): Chosen {
  const line = choose.pick(around.lines);
  const plan = planOf(line, choose, name);
  return { description: describe(line, plan), run: () => makeCall(around, line, plan, choose) };
}

async function makeCall(
  around: Surroundings,
  line: Line,
  plan: Plan,
  choose: Random,
): Promise<void> {
  const { ledger, fleet } = around;
  const began = performance.now();
  try {
    await new Call(around, line, plan, choose).run();
    ledger.outcome(plan.turn === 'plain' ? 'OK' : `OK (${plan.turn})`);
  } catch (error) {
    const elapsed = performance.now() - began;
    const outcome = judge(error, plan, elapsed, line.rough && fleet.wasBrokenSince(began));
    if (outcome !== undefined) ledger.outcome(outcome);
    else {
      ledger.violation(
        `${describe(line, plan)} failed after ${Math.round(elapsed)} ms: ${error instanceof Error ? (error.stack ?? error.message) : String(error)}`,
      );
    }
  }
}

function describe(line: Line, { name, kind, turn, lengths, metadata, slowReader }: Plan): string {
  const behave = Object.entries(metadata).map(([key, value]) => `${key} ${value}`);
  if (slowReader) behave.push('slow reader');
  return `${kind} ${name} (${turn}; ${behave.join(', ')}; ${lengths
    .map(({ length, replyLength }) => `${length}>${replyLength}`)
    .slice(0, 12)
    .join(' ')}) on ${line.name}`;
}

/** The name of an outcome that the plan allows. */
function judge(error: unknown, plan: Plan, elapsed: number, broken: boolean): string | undefined {
  if (error instanceof SourceError)
    return plan.turn === 'source throws' ? 'source threw' : undefined;
  if (!StatusError.is(error)) return undefined;
  const { code } = error;
  const named = `${statusName(code)} (${plan.turn})`;
  switch (code) {
    case Status.UNAVAILABLE:
      if (broken) return 'UNAVAILABLE (broken connection)';
      break;
    case Status.DEADLINE_EXCEEDED:
      if (
        plan.turn === 'short deadline' &&
        elapsed >= plan.timeoutMs - EARLY_MS &&
        elapsed < plan.timeoutMs + LATE_MS
      ) {
        return named;
      }
      break;
    case Status.CANCELLED:
      if (plan.turn === 'signal' || plan.turn === 'leaves') return named;
      break;
    default:
  }
  return plan.turn === 'fails' && code === plan.failsWith && error.message === `as asked: ${code}`
    ? named
    : undefined;
}

function planOf(line: Line, choose: Random, name: string): Plan {
  const kind = choose.pick(KINDS);
  const turns: Turn[] = ['short deadline', 'signal', 'leaves', 'fails'];
  if (kind === 'collect' || kind === 'upload') turns.push('early reply');
  if (kind === 'collect' || kind === 'chat') turns.push('source throws');
  if (line.retries > 0 && kind !== 'chatFast') turns.push('refused');
  const turn: Turn = choose() < 0.65 ? 'plain' : choose.pick(turns);
  const single = kind === 'say' || kind === 'expand';
  const count = single ? 1 : choose.pick([0, 1, 2, 5, 10, 30, 200]);
  // What is to be sent again has to fit into the buffer for that.
  const most = turn === 'refused' ? 1000 : count > 30 ? 2000 : Number.POSITIVE_INFINITY;
  const size = () => choose.between(0, Math.min(choose.pick(SIZES), most));
  const lengths = Array.from({ length: count }, () => ({ length: size(), replyLength: size() }));
  const metadata: { [name: string]: string } = { expected: String(count) };
  const code = choose.pick([
    Status.INVALID_ARGUMENT,
    Status.NOT_FOUND,
    Status.FAILED_PRECONDITION,
    Status.UNAUTHENTICATED,
  ]);
  const enough = turn === 'early reply' ? choose.between(1, Math.max(1, count)) : 0;
  const timeoutMs = choose.between(0, 40);
  let options: CallOptions = { timeoutMs: LONG_DEADLINE_MS };
  if (turn === 'short deadline') {
    metadata['behave'] = choose.pick(['hang', 'sleep:5', 'sleep:25', '']);
    options = { timeoutMs };
  } else if (turn === 'signal') {
    metadata['behave'] = choose.pick(['hang', 'sleep:5', '']);
    options = { signal: abortedWithin(choose.between(0, 20)) };
  } else if (turn === 'fails') metadata['behave'] = `fail:${code}`;
  else if (turn === 'refused') metadata['behave'] = `refuse:${choose.between(1, line.retries)}`;
  else if (turn === 'early reply') metadata['enough'] = String(enough);
  else if (choose() < 0.1) metadata['behave'] = `sleep:${choose.between(0, 20)}`;
  if (choose() < 0.15) metadata['compress'] = choose.pick(['gzip', 'deflate']);
  if (choose() < 0.15) {
    options = { ...options, compression: choose.pick(['gzip', 'deflate'] as const) };
  }
  return {
    name,
    kind,
    turn,
    lengths,
    options: { ...options, metadata: Object.entries(metadata) },
    metadata,
    timeoutMs,
    failsWith: code,
    leaveAfter: turn === 'leaves' ? choose.between(0, 5) : Number.POSITIVE_INFINITY,
    enough,
    throwAt: turn === 'source throws' ? choose.between(0, count) : Number.POSITIVE_INFINITY,
    slowReader: choose() < 0.1,
  };
}

function abortedWithin(milliseconds: number): AbortSignal {
  const abort = new AbortController();
  setTimeout(() => abort.abort(), milliseconds);
  return abort.signal;
}

/** A message that its call should never have had. */
class WrongReply extends Error {}

class Call {
  readonly #content: Content;
  readonly #ledger: Ledger;
  readonly #line: Line;
  readonly #plan: Plan;
  readonly #choose: Random;

  constructor({ content, ledger }: Surroundings, line: Line, plan: Plan, choose: Random) {
    this.#content = content;
    this.#ledger = ledger;
    this.#line = line;
    this.#plan = plan;
    this.#choose = choose;
  }

  run(): Promise<void> {
    switch (this.#plan.kind) {
      case 'say':
        return this.#say();
      case 'collect':
        return this.#collect();
      case 'upload':
        return this.#upload();
      case 'expand':
        return this.#expand();
      case 'chat':
      case 'chatFast':
        return this.#chat(this.#plan.kind);
      case 'duplex':
        return this.#duplex();
    }
  }

  async #say(): Promise<void> {
    const { options, turn } = this.#plan;
    const call = this.#line.client.say(this.#request(0), options);
    if (turn === 'leaves') call.cancel();
    this.#checkReply(await call, 0);
  }

  async #collect(): Promise<void> {
    const call = this.#line.client.collect(this.#requests(), this.#plan.options);
    if (this.#plan.turn === 'leaves') call.cancel();
    this.#checkSum(await call);
  }

  async #upload(): Promise<void> {
    const call = this.#line.client.collect(undefined, this.#plan.options);
    const { turn, lengths } = this.#plan;
    const cancelAt = turn === 'leaves' ? this.#choose.between(0, lengths.length) : -1;
    for (let index = 0; index < lengths.length; index++) {
      if (index === cancelAt) call.cancel();
      // The call may have ended before its requests: `response` says how.
      if (!call.write(this.#request(index)) && (await isOver(call))) break;
    }
    call.end();
    if (cancelAt === lengths.length) call.cancel();
    this.#checkSum(await call.response);
  }

  async #expand(): Promise<void> {
    const { name, options } = this.#plan;
    const count = this.#choose.pick([0, 1, 3, 20, 60]);
    const replies = this.#line.client.expand({ text: name, count }, options);
    const received = await this.#read(replies, (reply, index) => {
      const key = replyKey(name, index);
      const length = this.#content.lengthOf(key);
      if (reply.text !== `${name}/${index}` || !this.#content.matches(key, length, reply.data)) {
        throw new WrongReply(`reply ${index} is not the one of ${length} bytes: "${reply.text}"`);
      }
    });
    this.#checkCount(received, count);
  }

  async #chat(method: 'chat' | 'chatFast'): Promise<void> {
    const { options, lengths } = this.#plan;
    const replies = this.#line.client[method](this.#requests(), options);
    const received = await this.#read(replies, (reply, index) => this.#checkReply(reply, index));
    this.#checkCount(received, lengths.length);
  }

  /** Writes and reads at the same time, on a call object. */
  async #duplex(): Promise<void> {
    const { options, lengths, turn } = this.#plan;
    const call = this.#line.client[this.#choose.pick(['chat', 'chatFast'] as const)](
      undefined,
      options,
    );
    const writing = (async () => {
      for (let index = 0; index < lengths.length; index++) {
        if (!call.write(this.#request(index)) && (await isOver(call))) return;
      }
      call.end();
    })();
    if (turn === 'leaves' && this.#choose() < 0.5) call.cancel();
    const received = await this.#read(call, (reply, index) => this.#checkReply(reply, index));
    await writing;
    this.#checkCount(received, lengths.length);
  }

  // --- what is sent ---

  #request(index: number): Message {
    const { name, lengths } = this.#plan;
    const { length, replyLength } = lengths[index]!;
    this.#count(length);
    return {
      text: writeLabel({ call: name, index, length, replyLength }),
      data: this.#content.bytes(requestKey(name, index), length),
    };
  }

  async *#requests(): AsyncGenerator<Message> {
    const { lengths, throwAt } = this.#plan;
    for (let index = 0; index < lengths.length; index++) {
      if (index === throwAt) throw new SourceError('the source has no more');
      yield this.#request(index);
    }
    if (throwAt === lengths.length) throw new SourceError('the source has no end');
  }

  // --- what comes back ---

  /** Reads until the end, or until the plan has it leave. */
  async #read(
    replies: AsyncIterable<Message>,
    check: (reply: Message, index: number) => void,
  ): Promise<number> {
    const { leaveAfter, slowReader } = this.#plan;
    let count = 0;
    for await (const reply of replies) {
      check(reply, count);
      this.#count(reply.data.length);
      count++;
      if (count > leaveAfter) break;
      if (slowReader && count % 5 === 0) await delay(this.#choose.between(0, 5));
    }
    return count;
  }

  #checkReply(reply: Message, index: number): void {
    const { name, lengths } = this.#plan;
    const asked = lengths[index];
    if (asked === undefined) throw new WrongReply(`a reply beyond the ${lengths.length} asked for`);
    const { replyLength } = asked;
    if (
      reply.text !== writeLabel({ call: name, index, ...asked }) ||
      !this.#content.matches(replyKey(name, index), replyLength, reply.data)
    ) {
      throw new WrongReply(
        `reply ${index} is not the one of ${replyLength} bytes, but "${reply.text}" with ${reply.data.length}`,
      );
    }
  }

  #checkSum({ count, bytes }: { count: bigint; bytes: bigint }): void {
    const { lengths, enough } = this.#plan;
    const read = enough > 0 ? lengths.slice(0, enough) : lengths;
    const sum = read.reduce((total, { length }) => total + length, 0);
    if (count !== BigInt(read.length) || bytes !== BigInt(sum)) {
      throw new WrongReply(`${count} messages with ${bytes} bytes for ${read.length} with ${sum}`);
    }
  }

  #checkCount(received: number, expected: number): void {
    const { leaveAfter } = this.#plan;
    if (received !== Math.min(expected, leaveAfter + 1)) {
      throw new WrongReply(`${received} replies where ${expected} were due`);
    }
  }

  #count(bytes: number): void {
    this.#ledger.messages++;
    this.#ledger.bytes += bytes;
  }
}

/** Waits until a call takes more; `true` when it will not. */
async function isOver(call: { writable(): Promise<void> }): Promise<boolean> {
  try {
    await call.writable();
    return false;
  } catch {
    return true;
  }
}
