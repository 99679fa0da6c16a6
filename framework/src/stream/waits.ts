/**
 * Where the time of a call with a deadline went, in milliseconds, for the message of its
 * DEADLINE_EXCEEDED. Calls without a deadline do not read the clock.
 */
export class Waits {
  readonly startedAt = performance.now();
  /** Waiting for the client to send. */
  requestsMs = 0;
  /** Waiting for the client to read. */
  peerMs = 0;
  /** Begin of the wait that is going on, by its kind. */
  requestsSince = 0;
  peerSince = 0;

  requestsBegin(): void {
    this.requestsSince = performance.now();
  }

  requestsEnd(): void {
    this.requestsMs += performance.now() - this.requestsSince;
    this.requestsSince = 0;
  }

  peerBegin(): void {
    this.peerSince = performance.now();
  }

  peerEnd(): void {
    this.peerMs += performance.now() - this.peerSince;
    this.peerSince = 0;
  }
}
