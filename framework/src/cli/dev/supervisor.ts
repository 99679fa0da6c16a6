import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import type { StatsReport } from './stats-line.js';

/** After that it is said that a program does not listen; what else is to be done goes on. */
const PATIENCE_MS = 10_000;

/** Runs one program after the other on a socket that stays open. */
export class Supervisor {
  readonly #descriptor: number;
  readonly #address: { readonly host: string; readonly port: number };
  readonly #preload: string;
  readonly #line: (text: string) => void;
  readonly #stats: (report: StatsReport) => void;
  readonly #children = new Set<ChildProcess>();
  #current: ChildProcess | undefined;
  /** Has not listened yet. */
  #starting: ChildProcess | undefined;
  #ending = false;
  #ended: Promise<void> | undefined;

  /**
   * @param descriptor listens; each child gets it
   * @param address where it does: `127.0.0.1:50051`, `[::1]:50051`
   * @param line takes what children write to standard output
   * @param stats takes what they did in every `statsMs`, if something; 0: never
   * @param wholeTraces whether what a program throws before it listens is shown with all its frames
   */
  constructor(
    descriptor: number,
    address: string,
    line: (text: string) => void,
    stats: (report: StatsReport) => void,
    statsMs: number,
    wholeTraces: boolean,
  ) {
    this.#descriptor = descriptor;
    const { hostname, port } = new URL(`tcp://${address}`);
    this.#address = { host: hostname.replace(/^\[(.*)\]$/, '$1'), port: Number(port) };
    const preload = new URL('./child.js', import.meta.url);
    preload.searchParams.set('statsMs', String(statsMs));
    if (wholeTraces) preload.searchParams.set('traces', 'whole');
    this.#preload = preload.href;
    this.#line = line;
    this.#stats = stats;
  }

  /** Whether a program has listened and has not ended. */
  get running(): boolean {
    return this.#current !== undefined;
  }

  /**
   * Starts a program, and when it accepts, lets the one before drain. Where it ends without having
   * listened, the one before goes on. Resolves then, or when it takes long to listen: it takes over
   * when it does, unless another is started before.
   *
   * @param settled called with nothing when it accepts, with how it ended if it never did
   * @param ended called when the process is gone
   */
  async replace(
    entry: string,
    settled: (failure?: string) => void,
    ended: () => void,
  ): Promise<void> {
    if (this.#ending) return;
    this.abandon();
    const child = spawn(
      process.execPath,
      ['--enable-source-maps', '--import', this.#preload, fileURLToPath(new URL(entry))],
      {
        // The socket is descriptor 3, the first of the LISTEN_FDS protocol.
        stdio: ['ignore', 'pipe', 'inherit', this.#descriptor, 'ipc'],
        // In a process group of its own: Ctrl-C is for the supervisor, and said to it twice the
        // program would end without a drain.
        detached: true,
      },
    );
    this.#children.add(child);
    this.#starting = child;
    createInterface({ input: child.stdout! }).on('line', this.#line);
    const exited = endOf(child).then((how) => {
      this.#children.delete(child);
      if (this.#current === child) {
        this.#current = undefined;
        if (!this.#ending) this.#line(`the program ended (${how}); a change starts it again`);
      }
      ended();
      return how;
    });
    const listening = new Promise<undefined>((resolve) => {
      child.once('message', () => {
        child.on('message', (report) => this.#stats(report as StatsReport));
        resolve(undefined);
      });
    });
    const outcome = Promise.race([listening, exited]).then((failure) => {
      // Another one was started instead.
      if (this.#starting !== child) return;
      this.#starting = undefined;
      if (this.#ending) return;
      if (failure === undefined) this.#takeOver(child);
      settled(failure);
    });
    const done = new AbortController();
    const late = delay(PATIENCE_MS, undefined, { signal: done.signal }).then(
      () => {
        if (this.#ending) return;
        this.#line(
          `the program does not listen after ${PATIENCE_MS / 1000} s; does it call serve()? It takes over when it listens`,
        );
      },
      () => {},
    );
    await Promise.race([outcome, late]);
    done.abort();
  }

  /** Ends a program that has not listened yet; if it does just now, it drains. */
  abandon(): void {
    this.#starting?.kill('SIGTERM');
    this.#starting = undefined;
  }

  #takeOver(child: ChildProcess): void {
    const before = this.#current;
    this.#current = child;
    if (before === undefined) return;
    before.kill('SIGTERM');
    void once(before, 'exit').then(() => this.#wake());
  }

  /**
   * Of the processes that wait at a socket the kernel wakes one for each connection. One that drains
   * takes what it was woken for; if it is killed just then, nobody takes the connection until the next
   * one comes: this is the next one.
   */
  #wake(): void {
    const socket = connect(this.#address, () => socket.destroy());
    socket.on('error', () => {});
    socket.unref();
  }

  /** Lets every child drain, and waits for their ends. Again is the same. */
  end(): Promise<void> {
    this.#ended ??= this.#end();
    return this.#ended;
  }

  /** Ends every child at once. */
  kill(): void {
    for (const child of this.#children) child.kill('SIGKILL');
  }

  async #end(): Promise<void> {
    this.#ending = true;
    await Promise.all(
      [...this.#children].map(async (child) => {
        const exited = once(child, 'exit');
        child.kill('SIGTERM');
        await exited;
      }),
    );
  }
}

/** How a process ended, or that it never began. */
function endOf(child: ChildProcess): Promise<string> {
  return new Promise((resolve) => {
    child.on('exit', (code, signal) => resolve(signal ?? `exit code ${code}`));
    child.on('error', ({ message }) => {
      if (child.pid === undefined) resolve(`it cannot be started: ${message}`);
    });
  });
}
