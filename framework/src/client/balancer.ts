import { Lane, type LaneHost, type LaneState } from './lane.js';
import type { BalancerName } from './service-config.js';

/**
 * The lanes of a channel: for pick_first one with all addresses, for round_robin one per address;
 * times the number of connections wanted.
 */
export class Balancer {
  readonly #host: LaneHost;
  readonly #name: BalancerName;
  readonly #connections: number;
  /** By address for round_robin, by '' for pick_first. */
  readonly #lanes = new Map<string, Lane[]>();
  #ready: Lane[] = [];
  #next = 0;
  state: LaneState = 'idle';

  constructor(host: LaneHost, name: BalancerName, connections: number) {
    this.#host = host;
    this.#name = name;
    this.#connections = connections;
  }

  /** The connection for the next call, if one is ready. */
  pick(): Lane | undefined {
    const ready = this.#ready;
    if (ready.length <= 1) return ready[0];
    const next = this.#next < ready.length ? this.#next : 0;
    this.#next = next + 1;
    return ready[next];
  }

  get failure(): string {
    for (const lane of this.#all()) if (lane.state === 'transient-failure') return lane.failure;
    return '';
  }

  update(addresses: readonly string[]): void {
    const groups: [string, readonly string[]][] =
      this.#name === 'pick_first'
        ? [['', addresses]]
        : [...new Set(addresses)].map((one) => [one, [one]]);
    for (const [key, lanes] of this.#lanes) {
      if (groups.some(([wanted]) => wanted === key)) continue;
      this.#lanes.delete(key);
      for (const lane of lanes) lane.close();
    }
    for (const [key, list] of groups) {
      const lanes = this.#lanes.get(key);
      if (lanes !== undefined) for (const lane of lanes) lane.update(list);
      else this.#lanes.set(key, this.#make(list));
    }
    this.changed();
  }

  #make(addresses: readonly string[]): Lane[] {
    const eager = this.#name === 'round_robin';
    return Array.from({ length: this.#connections }, () => new Lane(this.#host, addresses, eager));
  }

  connect(): void {
    for (const lane of this.#all()) lane.connect();
  }

  close(): void {
    for (const lane of this.#all()) lane.close();
    this.#lanes.clear();
    this.#ready = [];
  }

  /** Takes the lanes' states together, by the rules of gRPC's round_robin. */
  changed(): void {
    const lanes = this.#all();
    this.#ready = lanes.filter((lane) => lane.state === 'ready');
    if (this.#ready.length > 0) this.state = 'ready';
    else if (lanes.some((lane) => lane.state === 'connecting')) this.state = 'connecting';
    else if (lanes.some((lane) => lane.state === 'idle')) this.state = 'idle';
    else this.state = lanes.length > 0 ? 'transient-failure' : 'idle';
  }

  #all(): Lane[] {
    return [...this.#lanes.values()].flat();
  }
}
