/** What a child reports of the time since its last report. */
export interface StatsReport {
  readonly seconds: number;
  readonly connections: number;
  readonly activeCalls: number;
  /** Counts of that time. */
  readonly calls: number;
  readonly callsFailed: number;
  readonly messagesReceived: number;
  readonly messagesSent: number;
  /** Of the whole process. */
  readonly residentBytes: number;
}

/** The totals of a server that a report is made of. */
export type Totals = Readonly<Record<string, number>>;

/** What has come to the totals in so many seconds; undefined if nothing has. */
export function reportOf(
  before: Totals,
  now: Totals,
  seconds: number,
  residentBytes: number,
): StatsReport | undefined {
  const since = (name: string) => (now[name] ?? 0) - (before[name] ?? 0);
  const counts = {
    calls: since('calls'),
    callsFailed: since('callsFailed'),
    messagesReceived: since('messagesReceived'),
    messagesSent: since('messagesSent'),
  };
  if (Object.values(counts).every((count) => count === 0)) return undefined;
  const { connections = 0, activeCalls = 0 } = now;
  return { seconds, connections, activeCalls, ...counts, residentBytes };
}

/** For people: `3.2 calls/s, 0 failed; 32 messages/s in, 32 out; 1 connection, 0 calls open; 61 MB`. */
export function statsLine(report: StatsReport): string {
  const { seconds, calls, callsFailed, messagesReceived, messagesSent } = report;
  const rate = (count: number) => {
    const each = count / seconds;
    return each.toLocaleString('en', { maximumFractionDigits: each < 10 ? 1 : 0 });
  };
  const { connections, activeCalls, residentBytes } = report;
  return [
    `${rate(calls)} calls/s, ${callsFailed.toLocaleString('en')} failed`,
    `${rate(messagesReceived)} messages/s in, ${rate(messagesSent)} out`,
    `${connections} ${connections === 1 ? 'connection' : 'connections'}, ${activeCalls} calls open`,
    `${Math.round(residentBytes / 1e6)} MB`,
  ].join('; ');
}
