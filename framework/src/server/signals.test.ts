import { pino } from 'pino';
import { afterEach, expect, test, vi } from 'vitest';
import { type Signalled, unwatchSignals, watchSignals } from './signals.js';

class FakeServer implements Signalled {
  readonly lines: { level: number; msg: string; [field: string]: unknown }[] = [];
  readonly logger = pino({}, { write: (line: string) => this.lines.push(JSON.parse(line)) });
  closes = 0;
  closed!: () => void;

  close(): Promise<void> {
    this.closes++;
    return new Promise((resolve) => {
      this.closed = () => {
        unwatchSignals(this);
        resolve();
      };
    });
  }

  unfinished(): string[] {
    return ['/test.Notes/One'];
  }
}

const servers: FakeServer[] = [];
const exitCode = process.exitCode;

function watched(): FakeServer {
  const server = new FakeServer();
  servers.push(server);
  watchSignals(server);
  return server;
}

afterEach(() => {
  for (const server of servers.splice(0)) unwatchSignals(server);
  process.exitCode = exitCode;
  vi.restoreAllMocks();
});

test('one handler serves all servers and goes with the last of them', () => {
  const before = process.listenerCount('SIGTERM');
  const [first, second] = [watched(), watched()];
  expect(process.listenerCount('SIGTERM')).toBe(before + 1);
  unwatchSignals(first);
  expect(process.listenerCount('SIGTERM')).toBe(before + 1);
  unwatchSignals(second);
  expect(process.listenerCount('SIGTERM')).toBe(before);
});

test('the first signal drains all servers and sets the exit code', async () => {
  process.exitCode = undefined;
  const [first, second] = [watched(), watched()];
  process.emit('SIGTERM', 'SIGTERM');
  expect([first.closes, second.closes]).toEqual([1, 1]);
  first.closed();
  second.closed();
  await new Promise((resolve) => setImmediate(resolve));
  expect(process.exitCode).toBe(0);
});

test('the second signal exits at once and names what was unfinished', () => {
  const exit = vi.spyOn(process, 'exit').mockImplementation((code) => {
    throw new Error(`exit ${code}`);
  });
  const server = watched();
  process.emit('SIGTERM', 'SIGTERM');
  expect(exit).not.toHaveBeenCalled();
  expect(() => process.emit('SIGINT', 'SIGINT')).toThrow('exit 130');
  expect(server.closes).toBe(1);
  expect(server.lines.at(-1)).toMatchObject({ unfinished: ['/test.Notes/One'] });
});
