// A client in a process of its own, to be killed: keeps calls of all streaming kinds going, on the port
// given, and says on the IPC channel when each has had an answer, or has sent much.

import { Echo } from '@millrace/example-echo/dist/gen/millrace/echo/v1/echo.js';
import { connect } from 'millrace';

const client = connect(Echo, `127.0.0.1:${process.argv[2]}`);
const data = new Uint8Array(10_000).fill(1);

async function* endless() {
  for (;;) yield { data };
}

/** Resolves when the first response has come; goes on reading. */
async function begun(responses: AsyncIterable<unknown>): Promise<void> {
  const iterator = responses[Symbol.asyncIterator]();
  await iterator.next();
  void (async () => {
    for (;;) await iterator.next();
  })();
}

/** Resolves when an upload has sent as much as it may at once; goes on uploading. */
function uploading(): Promise<void> {
  return new Promise((resolve) => {
    async function* source() {
      for (let count = 0; ; count++) {
        if (count === 100) resolve();
        yield { data };
      }
    }
    void client.collect(source());
  });
}

await Promise.all([
  begun(client.chat(endless())),
  begun(client.chatFast(endless())),
  begun(client.expand({}, { metadata: { mode: 'flood' } })),
  uploading(),
]);
process.send?.('begun');
