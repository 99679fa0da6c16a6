/** How near a call and its thread are to their bounds. */
export interface Pressure {
  /** The receive ring of the thread: `open`, or short of free buffers. */
  readonly level: 'open' | 'low' | 'critical';
  /** Messages of this call that wait to be pulled. */
  readonly waitingMessages: number;
  /**
   * Bytes written by this call that its peer has not taken yet. While the connection as a whole is
   * full (`connectionUnsentBytes`): at its mark or just below it, for it has to wait like one that is.
   */
  readonly unsentBytes: number;
  /** Whether the thread's budget for unsent bytes is full. */
  readonly outboundFull: boolean;
}
