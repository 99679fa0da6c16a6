import { once } from 'node:events';
import { createServer, type Server as HttpServer, type ServerResponse } from 'node:http';
import type { AddressInfo } from 'node:net';
import { Counter, collectDefaultMetrics, Gauge, Registry } from 'prom-client';
import type { Server } from '../../server/serve.js';
import type { ServerStats } from '../../server/stats.js';
import { CliError } from '../cli-error.js';
import { packageVersion } from '../package-version.js';

/** The statistics that go up and down, or are the highest or lowest of a thread; others only grow. */
const GAUGES: ReadonlySet<string> = new Set([
  ...['connections', 'activeCalls', 'waitingMessages', 'handlersRunning', 'subscribedCalls'],
  ...['bufferedBytes', 'bufferedBytesHighest', 'overflowBytes', 'extraWindowBytes'],
  ...['unsentBytes', 'framedBytes', 'eventBytesWaiting', 'sendChunks', 'largestBatch'],
  ...['ringBuffers', 'ringFree', 'ringHeld', 'ringLowestFree'],
]);

/** Answers `GET /metrics` over HTTP/1.1 in the text format of Prometheus. */
export class MetricsServer {
  readonly #http: HttpServer;
  readonly #host: string;
  #metrics: Metrics | undefined;

  private constructor(http: HttpServer, host: string) {
    this.#http = http;
    this.#host = host;
    http.on('request', (request, response) => {
      const { method, url = '' } = request;
      if (!/^\/metrics(\?|$)/.test(url)) refuse(response, 404, 'There is /metrics only.');
      else if (method !== 'GET' && method !== 'HEAD') refuse(response, 405, 'GET only.');
      else void this.#answer(response);
    });
    // Whoever scrapes does not keep the process, once the last call has ended.
    http.on('connection', (socket) => socket.unref());
    http.unref();
  }

  /**
   * Listens, before the server does: where it cannot, nothing is started.
   *
   * @throws CliError if the port cannot be had
   */
  static async listen(host: string, port: number): Promise<MetricsServer> {
    const http = createServer();
    http.listen({ host, port });
    try {
      await once(http, 'listening');
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException;
      const why = code === 'EADDRINUSE' ? 'the port is in use' : message;
      throw new CliError(`metrics cannot be served on ${host}:${port}: ${why}`, {
        remedy: 'Give another --metrics-port, or leave it out. The server was not started.',
        cause: error,
      });
    }
    return new MetricsServer(http, host);
  }

  /** The address for a scraper. */
  get url(): string {
    const { port } = this.#http.address() as AddressInfo;
    return `http://${this.#host.includes(':') ? `[${this.#host}]` : this.#host}:${port}/metrics`;
  }

  /** Answers with the numbers of this server from now on. */
  serve(server: Server): void {
    this.#metrics = new Metrics(server);
  }

  close(): void {
    this.#http.close();
  }

  async #answer(response: ServerResponse): Promise<void> {
    try {
      if (this.#metrics === undefined) return refuse(response, 503, 'The server is starting.');
      const text = await this.#metrics.text();
      response.setHeader('content-type', Registry.PROMETHEUS_CONTENT_TYPE);
      response.end(text);
    } catch (error) {
      refuse(response, 500, error instanceof Error ? error.message : String(error));
    }
  }
}

function refuse(response: ServerResponse, status: number, why: string): void {
  response.writeHead(status, { 'content-type': 'text/plain' }).end(`${why}\n`);
}

/** The numbers of all threads together, as Prometheus names them. */
class Metrics {
  readonly #server: Server;
  readonly #registry = new Registry();
  readonly #gauges = new Map<string, Gauge>();
  readonly #counters = new Map<string, GrowingCounter>();

  constructor(server: Server) {
    this.#server = server;
    collectDefaultMetrics({ register: this.#registry });
    const registers = [this.#registry];
    new Gauge({
      name: 'millrace_info',
      help: 'Always 1; the labels say what runs',
      labelNames: ['version', 'driver'],
      registers,
    }).set({ version: packageVersion(), driver: server.driver }, 1);
    new Gauge({ name: 'millrace_threads', help: 'Server threads', registers }).set(server.threads);
  }

  async text(): Promise<string> {
    const stats = await this.#server.stats();
    for (const [name, value] of Object.entries(stats.total)) {
      if (GAUGES.has(name)) this.#gauge(name).set(value);
      else this.#counter(name).follow(value);
    }
    for (const [name, value] of http2Totals(stats)) this.#counter(`http2.${name}`).follow(value);
    return this.#registry.metrics();
  }

  #gauge(statistic: string): Gauge {
    let gauge = this.#gauges.get(statistic);
    if (gauge === undefined) {
      const [name, help] = [metricName(statistic), helpOf(statistic)];
      gauge = new Gauge({ name, help, registers: [this.#registry] });
      this.#gauges.set(statistic, gauge);
    }
    return gauge;
  }

  #counter(statistic: string): GrowingCounter {
    let counter = this.#counters.get(statistic);
    if (counter === undefined) {
      const name = `${metricName(statistic)}_total`;
      counter = new GrowingCounter(name, helpOf(statistic), this.#registry);
      this.#counters.set(statistic, counter);
    }
    return counter;
  }
}

/**
 * A counter that follows a sum over threads. The sum falls when a thread dies and another takes its
 * place at zero; the counter then stays, and grows from there.
 */
class GrowingCounter {
  readonly #counter: Counter;
  #seen = 0;

  constructor(name: string, help: string, registry: Registry) {
    this.#counter = new Counter({ name, help, registers: [registry] });
  }

  follow(sum: number): void {
    if (sum > this.#seen) this.#counter.inc(sum - this.#seen);
    this.#seen = sum;
  }
}

function http2Totals({ threads }: ServerStats): Map<string, number> {
  const totals = new Map<string, number>();
  for (const { http2 } of threads) {
    for (const [name, value] of Object.entries(http2)) {
      totals.set(name, (totals.get(name) ?? 0) + value);
    }
  }
  return totals;
}

/** `sentBytes` is `millrace_sent_bytes`, `http2.pingFloods` is `millrace_http2_ping_floods`. */
function metricName(statistic: string): string {
  const name = statistic.replace('.', '_');
  return `millrace_${name.replace(/[A-Z]/g, (letter) => `_${letter.toLowerCase()}`)}`;
}

function helpOf(statistic: string): string {
  return `${statistic} of server.stats(): see the reference of Millrace's statistics`;
}
