// The standard interoperability cases that need nothing but npm; `npm run conformance` runs them with
// other peers too.

import { describe, expect, test } from 'vitest';
import * as suites from '../conformance/suites.mjs';

const driver = process.env['MILLRACE_DRIVER'] ?? 'auto';

describe.each(['plaintext', 'TLS'] as const)('grpc.testing.TestService, %s', (transport) => {
  test('grpc-js as the client', async () => {
    const { passed, failures } = await suites.grpcJsClient(transport, driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(17);
  });

  test('grpc-js as the server', async () => {
    const { passed, failures } = await suites.grpcJsServer(transport, driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(17);
  });

  test('our client, our server', async () => {
    const { passed, failures } = await suites.ourselves(transport, driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(17);
  });
});
