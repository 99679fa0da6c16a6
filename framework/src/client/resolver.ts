import { lookup } from 'node:dns/promises';
import { address, type Target } from './target.js';

/** Looks up the addresses of a name; `node:dns` unless a test says otherwise. */
export type Lookup = (host: string) => Promise<readonly string[]>;

const system: Lookup = async (host) =>
  (await lookup(host, { all: true, order: 'verbatim' })).map((found) => found.address);

/** Names are looked up again no more often than this. */
const LEAST_INTERVAL_MS = 30_000;

/** Where the addresses of a target come from. */
export class Resolver {
  readonly #target: Target;
  readonly #lookup: Lookup;
  #resolvedAt = Number.NEGATIVE_INFINITY;

  constructor(target: Target, lookup: Lookup = system) {
    this.#target = target;
    this.#lookup = lookup;
  }

  /** The addresses are given: asking again would not change them. */
  get isStatic(): boolean {
    return this.#target.name === undefined;
  }

  /** Whether asking again is due. */
  get isDue(): boolean {
    return !this.isStatic && performance.now() - this.#resolvedAt >= LEAST_INTERVAL_MS;
  }

  /** @throws Error with a message that names the target */
  async resolve(): Promise<readonly string[]> {
    const { name, addresses, text } = this.#target;
    if (name === undefined) return addresses;
    let found: readonly string[];
    try {
      found = await this.#lookup(name.host);
    } catch (cause) {
      const code = (cause as NodeJS.ErrnoException).code ?? String(cause);
      throw new Error(`the name "${name.host}" of the target ${text} does not resolve (${code})`, {
        cause,
      });
    }
    if (found.length === 0) {
      throw new Error(`the name "${name.host}" of the target ${text} has no address`);
    }
    this.#resolvedAt = performance.now();
    return found.map((host) => address(host, name.port));
  }
}
