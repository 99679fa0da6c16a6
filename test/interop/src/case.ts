// What the cases are made of.

import assert from 'node:assert/strict';
import {
  type Client,
  type Connection,
  type ConnectionOptions,
  type Status,
  StatusError,
  statusName,
} from 'millrace';
import type { TestService } from './gen/grpc/testing/test.js';

export const LARGE_REQUEST_BYTES = 271_828;
export const LARGE_RESPONSE_BYTES = 314_159;

/** Longer than any case takes; a case that hangs fails by it. */
export const timeoutMs = 20_000;

export type TestClient = Client<typeof TestService>;

/** Whom a case calls. */
export interface Server {
  readonly target: string;
  readonly tls: ConnectionOptions['tls'];
  /** Its handlers can see whether a request came compressed, and are asked to refuse one that did not. */
  readonly seesCompression: boolean;
}

export type Case = (client: TestClient, shared: Connection, server: Server) => Promise<void>;

export const payload = (bytes: number) => ({ body: new Uint8Array(bytes) });

export async function sizes(
  call: AsyncIterable<{ payload: { body: Uint8Array } | undefined }>,
): Promise<number[]> {
  const all = [];
  for await (const { payload } of call) all.push(payload?.body.length ?? 0);
  return all;
}

export async function fails(
  outcome: PromiseLike<unknown>,
  code: Status,
  message?: string,
): Promise<void> {
  await assert.rejects(
    async () => outcome,
    (error: unknown) => {
      if (!StatusError.is(error)) throw error;
      assert.equal(
        `${error.codeName}: ${error.message}`,
        `${statusName(code)}: ${message ?? error.message}`,
      );
      return true;
    },
  );
}
