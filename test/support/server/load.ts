// Load on a port of the same process, without a client library: a few connections that each keep a
// stream of echo messages going, with frames prepared once.

import { connect, type Socket } from 'node:net';
import { setImmediate as turn } from 'node:timers/promises';

const PREFACE = 'PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n';

function frame(type: number, flags: number, stream: number, payload: Buffer): Buffer {
  const head = Buffer.alloc(9);
  head.writeUIntBE(payload.length, 0, 3);
  head[3] = type;
  head[4] = flags;
  head.writeUInt32BE(stream, 5);
  return Buffer.concat([head, payload]);
}

function headers(path: string): Buffer {
  const fields: [string, string][] = [
    [':method', 'POST'],
    [':scheme', 'http'],
    [':path', path],
    [':authority', 'localhost'],
    ['content-type', 'application/grpc'],
    ['te', 'trailers'],
  ];
  return Buffer.concat(
    fields.flatMap(([name, value]) => [
      Buffer.from([0, name.length]),
      Buffer.from(name),
      Buffer.from([value.length]),
      Buffer.from(value),
    ]),
  );
}

/** 100 echo messages of 100 bytes in one DATA frame, and the credit for their replies. */
function burst(stream: number): Buffer {
  const message = Buffer.concat([Buffer.from([0, 0, 0, 0, 102, 18, 100]), Buffer.alloc(100, 1)]);
  const credit = Buffer.alloc(4);
  credit.writeUInt32BE(100 * message.length);
  return Buffer.concat([
    frame(8, 0, 0, credit),
    frame(8, 0, stream, credit),
    frame(0, 0, stream, Buffer.concat(Array.from({ length: 100 }, () => message))),
  ]);
}

/** Opens connections, each with an echo stream and unary calls, and returns them. */
export function load(port: number, connections: number): Socket[] {
  return Array.from({ length: connections }, () => {
    const socket = connect(port, '127.0.0.1');
    socket.on('error', () => {});
    socket.write(PREFACE);
    socket.write(frame(4, 0, 0, Buffer.alloc(0)));
    socket.write(frame(1, 4, 1, headers('/millrace.echo.v1.Echo/Chat')));
    const piece = burst(1);
    let stream = 3;
    function more(): void {
      socket.write(piece);
      socket.write(frame(1, 4, stream, headers('/millrace.echo.v1.Echo/Say')));
      socket.write(frame(0, 1, stream, Buffer.from([0, 0, 0, 0, 3, 10, 1, 97])));
      stream += 2;
    }
    socket.on('connect', more);
    // A reply asks for the next burst, so the load follows the server's pace.
    let received = 0;
    socket.on('data', (chunk: Buffer) => {
      received += chunk.length;
      if (received < 10_000) return;
      received = 0;
      more();
    });
    return socket;
  });
}

/** Waits until every one of the sockets is closed. */
export async function closed(sockets: readonly Socket[]): Promise<void> {
  while (!sockets.every((socket) => socket.destroyed)) await turn();
}
