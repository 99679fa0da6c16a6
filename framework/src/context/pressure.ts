/** How near a call and its thread are to their bounds. */
export interface Pressure {
  /** The receive ring of the thread: `open`, or short of free buffers. */
  readonly level: 'open' | 'low' | 'critical';
  /** Messages of this call that wait to be pulled. */
  readonly waitingMessages: number;
  /** Bytes written by this call that its peer has not taken yet. */
  readonly unsentBytes: number;
  /** Whether the thread's budget for unsent bytes is full. */
  readonly outboundFull: boolean;
}
