// A nats-server of the tests' own: a free port, a folder of its own, JetStream.

import { type ChildProcess, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setImmediate } from 'node:timers/promises';

/** Whether nats-server is installed; says aloud if it is not. */
export function natsServerInstalled(what: string): boolean {
  const { status } = spawnSync('nats-server', ['--version'], { stdio: 'ignore' });
  if (status === 0) return true;
  console.warn(`SKIPPED: ${what}: nats-server is not installed (apt-get install nats-server)`);
  return false;
}

export class NatsServer {
  /** -1 until it has started: any that is free. */
  port = -1;
  readonly folder: string;
  readonly #more: readonly string[];
  #child: ChildProcess | undefined;

  private constructor(more: readonly string[]) {
    this.#more = more;
    this.folder = mkdtempSync(join(tmpdir(), 'millrace-nats-'));
  }

  static async start(...more: string[]): Promise<NatsServer> {
    const server = new NatsServer(more);
    await server.start();
    return server;
  }

  get address(): string {
    return `127.0.0.1:${this.port}`;
  }

  /** Starts, or starts again on the same port with the same folder. */
  async start(): Promise<void> {
    const jetStream = this.#more.includes('--no-jetstream') ? [] : ['-c', this.#configuration()];
    const more = this.#more.filter((each) => each !== '--no-jetstream');
    const child = spawn(
      'nats-server',
      ['-a', '127.0.0.1', '-p', String(this.port), ...jetStream, ...more],
      { stdio: ['ignore', 'ignore', 'pipe'] },
    );
    this.#child = child;
    // However this process ends, the other does not outlive it.
    const kill = () => child.kill('SIGKILL');
    process.once('exit', kill);
    child.once('exit', () => process.off('exit', kill));
    let log = '';
    await new Promise<void>((resolve, reject) => {
      child.stderr!.setEncoding('utf8').on('data', (text: string) => {
        log += text;
        if (log.includes('Server is ready')) resolve();
      });
      child.once('exit', () => reject(new Error(`nats-server ended: ${log}`)));
    });
    child.stderr!.removeAllListeners('data').resume();
    this.port = Number(/Listening for client connections on .*:(\d+)$/m.exec(log)![1]);
  }

  /** Every stream reserves what it may hold at most: many do not fit the disk, and none fills up. */
  #configuration(): string {
    const file = join(this.folder, 'nats.conf');
    const store = JSON.stringify(this.folder);
    writeFileSync(file, `jetstream { store_dir: ${store}, max_file_store: 1TB }\n`);
    return file;
  }

  /** From then on it answers nothing and keeps its connections; to be killed. Needs /proc. */
  async freeze(): Promise<void> {
    const { pid } = this.#child!;
    process.kill(pid!, 'SIGSTOP');
    const tasks = `/proc/${pid}/task`;
    const stopped = (task: string) =>
      readFileSync(join(tasks, task, 'stat'), 'utf8').includes(') T ');
    while (!readdirSync(tasks).every(stopped)) await setImmediate();
  }

  /** As kill -9 does. */
  async kill(): Promise<void> {
    await this.#end('SIGKILL');
  }

  /** As an operator does: it writes down everything. */
  async shutDown(): Promise<void> {
    await this.#end('SIGTERM');
  }

  /** Ends it, and removes its folder. */
  async stop(): Promise<void> {
    await this.#end('SIGTERM');
    rmSync(this.folder, { recursive: true, force: true });
  }

  async #end(signal: NodeJS.Signals): Promise<void> {
    const child = this.#child;
    this.#child = undefined;
    if (child === undefined || child.exitCode !== null || child.signalCode !== null) return;
    const exited = once(child, 'exit');
    child.kill(signal);
    await exited;
  }
}

/** A port that nobody listens on. */
export async function freePort(): Promise<number> {
  const server = createServer().listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as { port: number };
  server.close();
  await once(server, 'close');
  return port;
}
