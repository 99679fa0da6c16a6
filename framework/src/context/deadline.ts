import { Waits } from '../stream/waits.js';

/** The time that a client has given, as it arrived. The engine watches it. */
export class Deadline {
  /** Milliseconds left when the call reached JavaScript. */
  readonly leftMs: number;
  /** As of Date.now(). */
  readonly at: number;
  readonly waits = new Waits();

  constructor(leftMs: number) {
    this.leftMs = leftMs;
    this.at = Date.now() + leftMs;
  }

  /** Where the time went, for the message of a DEADLINE_EXCEEDED. */
  report(): string {
    const { waits, leftMs } = this;
    const now = performance.now();
    const ran = now - waits.startedAt;
    const requests = waits.requestsMs + (waits.requestsSince > 0 ? now - waits.requestsSince : 0);
    const peer = waits.peerMs + (waits.peerSince > 0 ? now - waits.peerSince : 0);
    const handler = Math.max(0, ran - requests - peer);
    return (
      `deadline exceeded: ${ms(leftMs)} were left when the handler was called; ` +
      `then ${ms(handler)} in the handler, ${ms(requests)} waiting for requests, ` +
      `${ms(peer)} waiting for the peer's window; ` +
      `the event loop noticed ${ms(Math.max(0, ran - leftMs))} late`
    );
  }
}

function ms(value: number): string {
  return `${Math.round(value)} ms`;
}
