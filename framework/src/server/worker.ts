/** The body of a server thread: started by threads.ts with a WorkerSetup. */
import { parentPort, workerData } from 'node:worker_threads';
import { loadNative } from '../bridge/native.js';
import { createLogger } from '../logging/logger.js';
import { loadServices } from './services-module.js';
import { ThreadServer } from './thread.js';
import type { Asked, Said, SecureFailure, WorkerSetup } from './worker-protocol.js';

const setup = workerData as WorkerSetup;
const port = parentPort!;
const say = (message: Said) => port.postMessage(message);

const { services, interceptors } = await loadServices(setup.services);
const logger = createLogger(setup.logLevel).child({ thread: setup.thread });
const server = new ThreadServer(await loadNative(), services, interceptors, logger, setup.options);
if (setup.tls !== undefined) server.secure(setup.tls);
const listening = server.listen(setup.endpoint, true);

port.on('message', async (asked: Asked) => {
  if (asked.kind === 'stats') {
    say({ kind: 'stats', id: asked.id, stats: server.stats() });
    return;
  }
  if (asked.kind === 'secure') {
    let error: SecureFailure | undefined;
    try {
      server.secure(asked.tls);
    } catch (thrown) {
      // A code does not cross with its error.
      const { code, message } = thrown as Error & { code?: string };
      error = { code, message };
    }
    say({ kind: 'secured', id: asked.id, error });
    return;
  }
  const result = await server.close(asked.timeoutMs);
  say({ kind: 'closed', id: asked.id, result });
  // What user code keeps running in this thread must not keep the process.
  port.close();
});

say({
  kind: 'listening',
  port: listening,
  driver: server.driver,
  driverReason: server.driverReason,
});
