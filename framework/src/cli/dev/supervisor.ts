import { type ChildProcess, spawn } from 'node:child_process';
import { once } from 'node:events';
import { connect } from 'node:net';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import type { StatsReport } from './stats-line.js';

/** A program that has not listened by then is taken for broken. */
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
   * listened, the one before goes on; resolves with how it ended.
   *
   * @param ended called when the process is gone
   */
  async replace(entry: string, ended: () => void): Promise<string | undefined> {
    if (this.#ending) return 'it is to end';
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
    createInterface({ input: child.stdout! }).on('line', this.#line);
    const exited = once(child, 'exit').then(([code, signal]) => {
      this.#children.delete(child);
      const how = signal === null ? `exit code ${code}` : String(signal);
      if (this.#current === child) {
        this.#current = undefined;
        if (!this.#ending) this.#line(`the program ended (${how}); a change starts it again`);
      }
      ended();
      return how;
    });
    const listening = once(child, 'message').then(() => {
      child.on('message', (report) => this.#stats(report as StatsReport));
      return undefined;
    });
    const silent = setTimeout(() => {
      this.#line(
        `the program does not listen after ${PATIENCE_MS / 1000} s; does it call serve()?`,
      );
      child.kill('SIGKILL');
    }, PATIENCE_MS);
    const failure = await Promise.race([listening, exited]);
    clearTimeout(silent);
    if (failure !== undefined || this.#ending) return failure;
    const before = this.#current;
    this.#current = child;
    if (before !== undefined) {
      before.kill('SIGTERM');
      void once(before, 'exit').then(() => this.#wake());
    }
    return undefined;
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
