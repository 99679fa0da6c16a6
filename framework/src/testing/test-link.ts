import { once } from 'node:events';
import {
  type AddressInfo,
  connect as connectTcp,
  createServer,
  type Server,
  type Socket,
} from 'node:net';
import { type Client, type ClientOptions, connect } from '../client/client.js';
import type { Connection } from '../client/connection.js';
import type { ServiceDescriptor } from '../service/descriptor.js';

/** A way to the server that a test can spoil: a relay on the loopback interface. */
export interface TestLink {
  /** The relay's address: a target for other clients. */
  readonly target: string;
  /** The connection that the clients of this link share. */
  readonly connection: Connection;
  /** How many connections pass through it now. */
  readonly open: number;
  /** A client of one of the services, through this link. */
  client<S extends ServiceDescriptor>(service: S, options?: ClientOptions): Client<S>;
  /** Resets what passes through now, as when a cable is pulled or a peer is killed. New connections pass. */
  cut(): void;
  /** As `cut`, and connections made until `up()` are reset too. */
  down(): void;
  /** Lets new connections pass again. */
  up(): void;
  /**
   * Passes nothing on in either direction until `resume()`. Nobody is told: bytes pile up in the
   * buffers of the kernel, which may be several MiB, and then with the sender.
   */
  stall(): void;
  /** Passes on again what `stall` has held up, in order. */
  resume(): void;
  /** Passes bytes on so many milliseconds later, in their order; 0: at once. */
  delay(milliseconds: number): void;
}

/** Kept, for a test may put fake ones in their place. */
const { setTimeout } = globalThis;
const clock = performance.now.bind(performance);

export class Link implements TestLink {
  /** Set by whoever opens the link. */
  connection!: Connection;
  readonly target: string;
  readonly #server: Server;
  readonly #pairs = new Set<Pair>();
  #isDown = false;
  #stalled = false;
  #delayMs = 0;

  static async open(port: number): Promise<Link> {
    const server = createServer({ allowHalfOpen: true });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    return new Link(server, port);
  }

  private constructor(server: Server, port: number) {
    this.#server = server;
    this.target = `127.0.0.1:${(server.address() as AddressInfo).port}`;
    server.on('connection', (client) => {
      if (this.#isDown) client.resetAndDestroy();
      else this.#relay(client, port);
    });
  }

  get open(): number {
    return this.#pairs.size;
  }

  client<S extends ServiceDescriptor>(service: S, options?: ClientOptions): Client<S> {
    return connect(service, this.connection, options);
  }

  cut(): void {
    for (const pair of this.#pairs) pair.reset();
  }

  down(): void {
    this.#isDown = true;
    this.cut();
  }

  up(): void {
    this.#isDown = false;
  }

  stall(): void {
    this.#stalled = true;
    for (const pair of this.#pairs) pair.stall(true);
  }

  resume(): void {
    this.#stalled = false;
    for (const pair of this.#pairs) pair.stall(false);
  }

  delay(milliseconds: number): void {
    this.#delayMs = milliseconds;
    for (const pair of this.#pairs) pair.delayMs = milliseconds;
  }

  async close(): Promise<void> {
    this.down();
    await new Promise((resolve) => this.#server.close(resolve));
  }

  #relay(client: Socket, port: number): void {
    const pair = new Pair(
      client,
      connectTcp({ port, host: '127.0.0.1', allowHalfOpen: true }),
      () => {
        this.#pairs.delete(pair);
      },
    );
    this.#pairs.add(pair);
    pair.delayMs = this.#delayMs;
    pair.stall(this.#stalled);
  }
}

/** The two sockets of a connection through the relay. */
class Pair {
  delayMs = 0;
  readonly #ways: readonly Way[];
  readonly #sockets: readonly Socket[];

  constructor(client: Socket, server: Socket, over: () => void) {
    this.#sockets = [client, server];
    this.#ways = [new Way(client, server, this), new Way(server, client, this)];
    for (const socket of this.#sockets) {
      socket.setNoDelay(true);
      // An error is followed by `close`.
      socket.on('error', () => {});
      socket.once('close', (failed) => {
        if (failed) this.reset();
        if (this.#sockets.every(({ destroyed }) => destroyed)) over();
      });
    }
  }

  stall(stalled: boolean): void {
    for (const way of this.#ways) way.stall(stalled);
  }

  reset(): void {
    for (const socket of this.#sockets) if (!socket.destroyed) socket.resetAndDestroy();
  }
}

/** One direction. */
class Way {
  readonly #from: Socket;
  readonly #to: Socket;
  /** What is passed on later, in order. */
  readonly #delayed: { readonly due: number; readonly pass: () => void }[] = [];
  #stalled = false;
  #full = false;

  constructor(from: Socket, to: Socket, pair: Pair) {
    this.#from = from;
    this.#to = to;
    from.on('data', (bytes: Buffer) => {
      this.#pass(() => this.#write(bytes), pair.delayMs);
    });
    from.on('end', () => {
      this.#pass(() => to.end(), pair.delayMs);
    });
    to.on('drain', () => {
      this.#full = false;
      this.#flow();
    });
  }

  stall(stalled: boolean): void {
    this.#stalled = stalled;
    this.#flow();
  }

  #pass(pass: () => void, delayMs: number): void {
    if (delayMs === 0 && this.#delayed.length === 0) {
      pass();
      return;
    }
    this.#delayed.push({ due: clock() + delayMs, pass });
    if (this.#delayed.length === 1) this.#later();
  }

  #later(): void {
    const [first] = this.#delayed;
    if (first === undefined) return;
    setTimeout(
      () => {
        this.#delayed.shift();
        first.pass();
        this.#later();
      },
      Math.max(0, first.due - clock()),
    );
  }

  #write(bytes: Buffer): void {
    if (this.#to.destroyed || this.#to.write(bytes)) return;
    this.#full = true;
    this.#flow();
  }

  #flow(): void {
    if (this.#stalled || this.#full) this.#from.pause();
    else this.#from.resume();
  }
}
