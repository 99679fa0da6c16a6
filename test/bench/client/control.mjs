// A client under measurement: waits for orders, does an amount of work, proves it, and reports.

const UNARY_IN_FLIGHT = 128;
const STREAMS = 8;
const STREAM_MESSAGES = 1000;

/**
 * @typedef {object} Client
 * @property {string} name
 * @property {(request: Message) => Promise<Message>} say
 * @property {(requests: readonly Message[]) => Promise<number>} chat sends all, tells how many replies equalled their requests
 * @property {() => unknown} close
 */

/** @typedef {{ text: string, data: Uint8Array }} Message */

/**
 * A message of about 64 bytes.
 *
 * @param {number} number
 * @returns {Message}
 */
const message = (number) => ({
  text: String(number % 1_000_000).padStart(16, '0'),
  data: payload,
});
const payload = new Uint8Array(44).fill(7);

const requests = Array.from({ length: STREAM_MESSAGES }, (_, number) => message(number));

/**
 * Whether a reply is that of a request. Every text is compared; the bytes by their length and ends,
 * which costs both clients the same.
 *
 * @param {Message} reply
 * @param {Message} request
 */
export function answers(reply, request) {
  const { data } = reply;
  return reply.text === request.text && data.length === payload.length && data[43] === 7;
}

/**
 * @param {Client} client
 * @param {number} count
 */
async function unary(client, count) {
  let next = 0;
  let good = 0;
  await Promise.all(
    Array.from({ length: UNARY_IN_FLIGHT }, async () => {
      while (next < count) {
        const request = message(next++);
        if (answers(await client.say(request), request)) good++;
      }
    }),
  );
  return good;
}

/**
 * @param {Client} client
 * @param {number} count a multiple of STREAM_MESSAGES
 */
async function chat(client, count) {
  let left = count / STREAM_MESSAGES;
  let good = 0;
  await Promise.all(
    Array.from({ length: STREAMS }, async () => {
      while (left-- > 0) {
        const answered = await client.chat(requests);
        good += answered;
      }
    }),
  );
  return good;
}

/** @param {(port: number) => Client} open */
export function control(open) {
  const client = open(Number(process.argv[2]));
  process.on('disconnect', () => process.exit(1));
  process.on('message', async (order) => {
    const { kind, messages } = /** @type {{ kind: string, messages: number }} */ (order);
    if (kind === 'close') {
      client.close();
      process.disconnect();
      process.exit(0);
    }
    const cpu = process.cpuUsage();
    const start = performance.now();
    const good = await (kind === 'chat' ? chat : unary)(client, messages);
    const seconds = (performance.now() - start) / 1000;
    const { user, system } = process.cpuUsage(cpu);
    process.send?.({ kind: 'done', good, seconds, cpuSeconds: (user + system) / 1e6 });
  });
  process.send?.({ kind: 'ready', name: client.name });
}
