// The servers, and what is done to them while calls go on.
//
// Calm servers are restarted one after the other by SIGTERM: no call may notice. The steady server lives
// as long as the run and is measured. The rough server is killed. Steady and rough can be reached through
// the proxy as well, which breaks connections.

import { setTimeout as delay } from 'node:timers/promises';
import type { Random } from '../support/random.js';
import type { Ledger } from './ledger.js';
import type { ServerSettings } from './options.js';
import { BreakingProxy, freePorts, SoakServer } from './processes.js';
import type { Cut } from './proxy.js';

/** What a drain may take before it is a violation; calls of the soak end within a few seconds. */
const DRAIN_MS = 20_000;
/** How long after a connection was broken, or a server came back, calls may still find none. */
const AFTERMATH_MS = 2000;

type Place = Omit<ServerSettings, 'port'>;

export class Fleet {
  readonly restarts = { calm: 0, killed: 0, cut: 0 };
  readonly #ledger: Ledger;
  readonly #random: Random;
  readonly #place: Place;
  readonly #calm: SoakServer[] = [];
  steady!: SoakServer;
  #rough!: SoakServer;
  #proxy!: BreakingProxy;
  #ports: number[] = [];
  #roughIsDown = false;
  /** When a rough connection was last broken, as of performance.now(). */
  #brokenAt = Number.NEGATIVE_INFINITY;
  #running = false;
  #disruptions: Promise<void>[] = [];

  constructor(place: Place, random: Random, ledger: Ledger) {
    this.#place = place;
    this.#random = random;
    this.#ledger = ledger;
  }

  async start(): Promise<void> {
    this.#ports = await freePorts(6);
    const servers = await Promise.all(
      ['calm 0', 'calm 1', 'steady', 'rough'].map((name, index) => this.#startServer(name, index)),
    );
    this.#calm.push(servers[0]!, servers[1]!);
    this.steady = servers[2]!;
    this.#rough = servers[3]!;
    const [, , steady, rough, toSteady, toRough] = this.#ports as [
      number,
      number,
      number,
      number,
      number,
      number,
    ];
    this.#proxy = await BreakingProxy.start({
      routes: [
        { from: toSteady, to: steady },
        { from: toRough, to: rough },
      ],
    });
  }

  #startServer(name: string, index: number): Promise<SoakServer> {
    return SoakServer.start(name, { ...this.#place, port: this.#ports[index]! }, this.#ledger);
  }

  /** Both calm servers and the steady one. */
  get calmTarget(): string {
    return targetOf(this.#ports.slice(0, 3));
  }

  /** The steady and the rough server, through the proxy. */
  get roughTarget(): string {
    return targetOf(this.#ports.slice(4, 6));
  }

  /** Whether a call of the rough target that began then may have lost its connection, or found none. */
  wasBrokenSince(began: number): boolean {
    return this.#roughIsDown || this.#brokenAt + AFTERMATH_MS > began;
  }

  // --- disruptions ---

  disrupt(): void {
    this.#running = true;
    this.#disruptions = [this.#roll(), this.#kill(), this.#cut()];
  }

  /** Stops disrupting; resolves when every server is there. */
  async calmDown(): Promise<void> {
    this.#running = false;
    await Promise.all(this.#disruptions);
  }

  async #roll(): Promise<void> {
    for (let index = 0; await this.#goOn(300, 2500); index = 1 - index) {
      const old = this.#calm[index]!;
      await this.#drain(old);
      this.#calm[index] = await this.#startServer(old.name, index);
      this.restarts.calm++;
    }
  }

  /** Ends a server by SIGTERM, and checks that it leaves nothing behind. */
  async #drain(server: SoakServer): Promise<void> {
    const began = performance.now();
    server.signal('SIGTERM');
    const timer = setTimeout(() => {
      this.#ledger.violation(`the server ${server.name} has not drained within ${DRAIN_MS} ms`);
      server.signal('SIGKILL');
    }, DRAIN_MS);
    const { code, signal } = await server.exited;
    clearTimeout(timer);
    const { last, aborted } = server;
    const what = `the server ${server.name}, drained in ${Math.round(performance.now() - began)} ms,`;
    if (code !== 0) this.#ledger.violation(`${what} ended with ${code ?? signal}`);
    if (aborted !== 0) this.#ledger.violation(`${what} cut off ${aborted} calls`);
    if (last === undefined) this.#ledger.violation(`${what} did not say its last words`);
    else this.#checkLast(what, last.counters, last.stats);
  }

  #checkLast(
    what: string,
    counters: { started: number; ended: number; wrong: number },
    stats: Readonly<Record<string, unknown>>,
  ): void {
    const { started, ended, wrong } = counters;
    if (wrong > 0) this.#ledger.violation(`${what} received ${wrong} wrong messages`);
    if (started !== ended) {
      this.#ledger.violation(`${what} began ${started} calls and ended ${ended}`);
    }
    for (const gauge of ['activeCalls', 'waitingMessages', 'overflowBytes', 'leakedRegions']) {
      if (stats[gauge] !== 0) this.#ledger.violation(`${what} has ${gauge} ${stats[gauge]}`);
    }
  }

  async #kill(): Promise<void> {
    while (await this.#goOn(2000, 6000)) {
      this.#roughIsDown = true;
      this.#rough.signal('SIGKILL');
      await this.#rough.exited;
      await delay(this.#random.between(0, 500));
      this.#rough = await this.#startServer(this.#rough.name, 3);
      this.#roughIsDown = false;
      this.#brokenAt = performance.now();
      this.restarts.killed++;
    }
  }

  async #cut(): Promise<void> {
    while (await this.#goOn(100, 1500)) {
      this.#brokenAt = performance.now();
      const how = this.#random.pick<Cut>(['reset', 'end', 'client-first']);
      this.#proxy.cut(how, this.#random.between(0, 1000));
      this.restarts.cut++;
    }
  }

  /** Waits some time; `false` when disruptions are to stop. */
  async #goOn(leastMs: number, mostMs: number): Promise<boolean> {
    const end = performance.now() + this.#random.between(leastMs, mostMs);
    while (this.#running && performance.now() < end) await delay(50);
    return this.#running;
  }

  /** Ends everything; the steady server by a drain like the others. */
  async stop(): Promise<void> {
    await Promise.all([...this.#calm, this.steady].map((server) => this.#drain(server)));
    this.#rough.signal('SIGKILL');
    await this.#rough.exited;
    this.#proxy.stop();
  }
}

function targetOf(ports: readonly number[]): string {
  return `ipv4:${ports.map((port) => `127.0.0.1:${port}`).join(',')}`;
}
