import type { MessageType } from '../codec/message-type.js';
import { Status } from '../status/status.js';
import { Backoff } from './backoff.js';
import type { Channel } from './channel.js';
import type { Lane } from './lane.js';
import { ClientMethod } from './method.js';
import { StreamCall } from './stream-call.js';

/** What a health service says when all is well: `grpc.health.v1.HealthCheckResponse.SERVING`. */
const SERVING = 1;
// Field 1, length-delimited and varint.
const TAG_SERVICE = 10;
const TAG_STATUS = 8;

const HealthCheckRequest: MessageType<never, { service: string }> = {
  ...unused('grpc.health.v1.HealthCheckRequest'),
  encode(message, writer) {
    if (message.service !== '') writer.string(TAG_SERVICE, message.service);
  },
};

const HealthCheckResponse: MessageType<number, never> = {
  ...unused('grpc.health.v1.HealthCheckResponse'),
  decode(reader, length) {
    const end = reader.pos + length;
    let status = 0;
    while (reader.pos < end) {
      const tag = reader.tag();
      if (tag === TAG_STATUS) status = reader.uint32();
      else reader.skip(tag);
    }
    return status;
  },
};

/** What this file needs of the two messages is their encoding alone. */
function unused(typeName: string): MessageType<never, never> {
  const not = (): never => {
    throw new Error(`${typeName} is only sent and received here`);
  };
  return {
    typeName,
    encode: not,
    decode: not,
    create: not,
    equals: not,
    toJson: not,
    fromJson: not,
  };
}

const watch = new ClientMethod(
  'grpc.health.v1.Health',
  {
    name: 'Watch',
    path: '/grpc.health.v1.Health/Watch',
    kind: 'server-streaming',
    input: HealthCheckRequest,
    output: HealthCheckResponse,
  },
  undefined,
);

/**
 * Watches what the server of a lane says of a service's health: the lane takes calls while it is
 * SERVING. A server without a health service is taken to be well. Returns how to stop.
 *
 * Source: gRFC A17
 */
export function watchHealth(channel: Channel, lane: Lane, service: string): () => void {
  const backoff = new Backoff(channel.backoff);
  let stopped = false;
  let call: StreamCall<number> | undefined;
  let timer: NodeJS.Timeout | undefined;

  const run = async () => {
    const { connection } = lane;
    let last: unknown;
    try {
      call = new StreamCall<number>(channel, watch, { service }, false, undefined);
      call.launchOn(connection);
      for await (const status of call) {
        backoff.reset();
        if (stopped) return;
        lane.healthy(status === SERVING, `the server says that "${service}" is not serving`);
      }
    } catch (error) {
      last = error;
    }
    if (stopped) return;
    if ((last as { code?: number } | undefined)?.code === Status.UNIMPLEMENTED) {
      channel.logger.warn({ target: channel.target }, 'the server has no health service to watch');
      lane.healthy(true, '');
      return;
    }
    const why = last instanceof Error ? last.message : 'the stream has ended';
    lane.healthy(false, `the health of "${service}" cannot be watched: ${why}`);
    timer = setTimeout(() => void run(), backoff.next());
    timer.unref();
  };
  void run();
  return () => {
    stopped = true;
    clearTimeout(timer);
    call?.cancel();
  };
}
