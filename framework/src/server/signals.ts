import type { Logger } from 'pino';

/** A server that ends with its process. */
export interface Signalled {
  readonly logger: Logger;
  close(): Promise<unknown>;
  /** The paths of calls whose handlers still run. */
  unfinished(): string[];
}

const servers = new Set<Signalled>();
let draining = false;

const numbers = { SIGINT: 2, SIGTERM: 15 } as const;
type Handled = keyof typeof numbers;

/** One handler serves all servers of a process: the first signal drains, the second exits. */
export function watchSignals(server: Signalled): void {
  if (servers.size === 0) {
    draining = false;
    process.on('SIGINT', onSignal);
    process.on('SIGTERM', onSignal);
  }
  servers.add(server);
}

/** With the last server the handler goes too: a later signal has its usual effect. */
export function unwatchSignals(server: Signalled): void {
  if (!servers.delete(server) || servers.size > 0) return;
  process.off('SIGINT', onSignal);
  process.off('SIGTERM', onSignal);
}

function onSignal(signal: NodeJS.Signals): void {
  if (draining) {
    for (const server of servers) {
      server.logger.error(
        { signal, unfinished: server.unfinished() },
        'exiting before the drain is over',
      );
    }
    process.exit(128 + numbers[signal as Handled]);
  }
  draining = true;
  for (const server of [...servers]) {
    server.logger.info({ signal }, 'draining');
    server.close().then(
      () => {
        process.exitCode ??= 0;
      },
      (error: unknown) => {
        server.logger.error({ err: error }, 'the drain failed');
        process.exitCode = 1;
      },
    );
  }
}
