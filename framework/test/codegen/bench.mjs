// How long the codecs take per message, in nanoseconds: the best of 40 rounds, each of 50,000
// messages. Needs a build; run it as `node framework/test/codegen/bench.mjs`.

import { CollectReply, EchoReply } from '../../../examples/echo/dist/gen/millrace/echo/v1/echo.js';
import { Reader, toBinary, Value, Writer } from '../../dist/codec/index.js';

const ROUNDS = 40;
const MESSAGES = 50_000;

/** An arena that is emptied before it is full, as the engine's is once a turn. */
class Arena extends Writer {
  /** @param {number} need */
  overflow(need) {
    throw new Error(`the arena has no room for ${need} bytes`);
  }
}

const writer = new Arena(new Uint8Array(4 << 20));
const reader = new Reader();
const region = new Uint8Array(16 << 20);
let work = 0;

/** @param {() => void} round */
function bestOf(round) {
  let best = Number.POSITIVE_INFINITY;
  for (let count = 0; count < ROUNDS; count++) {
    const start = process.hrtime.bigint();
    round();
    best = Math.min(best, Number(process.hrtime.bigint() - start) / MESSAGES);
  }
  return best.toFixed(1).padStart(8);
}

/** A string in one piece, as a decoder or a literal makes it. */
function flat(/** @type {number} */ length, /** @type {number} */ shift) {
  const letters = 'abcdefghijklmnopqrstuvwxyz'.repeat(Math.ceil((length + 26) / 26));
  return Buffer.from(letters.slice(shift, shift + length)).toString('latin1');
}

/**
 * @template M, Init
 * @param {string} name
 * @param {import('../../dist/codec/index.js').MessageType<M, Init>} type
 * @param {(index: number) => Init} make
 */
function measure(name, type, make) {
  const inits = Array.from({ length: 32 }, (_, index) => make(index));
  const encoded = inits.map((init) => toBinary(type, init));
  const pieces = [];
  for (let offset = 0; pieces.length < 20_000; ) {
    const bytes = encoded[pieces.length % 32] ?? new Uint8Array(0);
    if (offset + bytes.length > region.length) break;
    region.set(bytes, offset);
    pieces.push({ offset, length: bytes.length });
    offset += bytes.length;
  }
  const encode = bestOf(() => {
    for (let index = 0; index < MESSAGES; index++) {
      if (writer.pos > 3 << 20) writer.pos = 0;
      writer.begin();
      type.encode(/** @type {Init} */ (inits[index & 31]), writer);
      work += writer.finish();
    }
  });
  const decode = bestOf(() => {
    for (let index = 0; index < MESSAGES; index++) {
      const { offset, length } = /** @type {{ offset: number, length: number }} */ (
        pieces[index % pieces.length]
      );
      if (type.decode(reader.set(region, offset, length), length) !== undefined) work++;
    }
  });
  console.log(`${name.padEnd(32)} encode ${encode} ns   decode ${decode} ns`);
}

/** @param {number} text @param {number} data */
function echo(text, data) {
  measure(`text ${text}, bytes ${data}`, EchoReply, (index) => ({
    text: flat(text, index % 26),
    data: new Uint8Array(data).fill(index),
  }));
}

echo(64, 0);
echo(64, 16);
echo(8, 0);
echo(0, 64);
echo(64, 1024);
echo(1024, 0);
measure('two uint64', CollectReply, (index) => ({
  count: BigInt(index) * 1_000_003n,
  bytes: BigInt(index) * 123_456_789_012n,
}));
measure('oneof of a double', Value, (index) => ({
  kind: { case: 'numberValue', value: index + 0.5 },
}));
measure('list of eight oneofs', Value, (index) => ({
  kind: {
    case: 'listValue',
    value: {
      values: Array.from({ length: 8 }, () => ({
        kind: { case: 'stringValue', value: flat(9, index % 26) },
      })),
    },
  },
}));
if (work === 0) throw new Error('nothing was done');
