// The client's health check (gRFC A17) against a server that does not always take the watch.

import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { connect } from 'millrace';
import { expect, test } from 'vitest';
import { frame } from '../support/echo-wire.js';
import { startNegative } from '../support/negative-server.js';
import { ourConnection } from '../support/our-client.js';

const REFUSED_STREAM = 7;

test('a watch that the server refuses is begun again, and calls go on', async () => {
  let watches = 0;
  const { port } = await startNegative((connection, stream) => {
    if (stream === 1) {
      watches++;
      connection.reset(stream, REFUSED_STREAM);
    } else if (stream === 3) {
      watches++;
      connection.headers(stream);
      // HealthCheckResponse { status: SERVING }
      connection.data(stream, frame(Buffer.from([8, 1])));
    } else connection.succeed(stream);
  });
  const { connection } = ourConnection(port, {
    serviceConfig: {
      loadBalancingConfig: [{ round_robin: {} }],
      healthCheckConfig: { serviceName: 'echo' },
    },
    backoff: { initialMs: 20, mostMs: 20 },
  });
  const client = connect(Echo, connection);
  const reply = await client.say({}, { timeoutMs: 3000, waitForReady: true });
  expect(reply.data.length).toBe(10);
  expect(watches).toBe(2);
});
