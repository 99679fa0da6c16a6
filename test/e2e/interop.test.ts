// The standard interoperability cases that need nothing but npm; `npm run conformance` runs them with
// other peers too.

import { describe, expect, test } from 'vitest';
import * as suites from '../conformance/suites.mjs';
import { findPython } from '../conformance/tools.mjs';

const driver = process.env['MILLRACE_DRIVER'] ?? 'auto';

const python = await findPython();
if (python.path === undefined) {
  console.warn(`SKIPPED: interop with ${python.title}: ${python.reason}`);
}

describe.each(['plaintext', 'TLS'] as const)('grpc.testing.TestService, %s', (transport) => {
  test('grpc-js as the client', async () => {
    const { passed, failures } = await suites.grpcJsClient(transport, driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(20);
  });

  test('grpc-js as the server', async () => {
    const { passed, failures } = await suites.grpcJsServer(transport, driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(19);
  });

  test('our client, our server', async () => {
    const { passed, failures } = await suites.ourselves(transport, driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(21);
  });

  test.skipIf(python.path === undefined)('gRPC for Python in both roles, compressed', async () => {
    const program = python.path ?? '';
    for (const suite of [suites.pythonClient, suites.pythonServer]) {
      const { passed, failures } = await suite(program, transport, driver);
      expect(failures).toEqual([]);
      expect(passed).toBe(4);
    }
  });
});
