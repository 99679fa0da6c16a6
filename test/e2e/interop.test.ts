// The standard interoperability cases that need nothing but npm; `npm run conformance` runs them with
// other peers too.

import { describe, expect, test } from 'vitest';
import * as suites from '../conformance/suites.mjs';

const driver = process.env['MILLRACE_DRIVER'] ?? 'auto';

describe('grpc.testing.TestService', () => {
  test('grpc-js as the client', async () => {
    const { passed, failures } = await suites.grpcJsClient(driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(17);
  });

  test('our client', async () => {
    const { passed, failures } = await suites.ourselves(driver);
    expect(failures).toEqual([]);
    expect(passed).toBe(17);
  });
});
