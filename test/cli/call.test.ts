// millrace call, against our own server.

import { spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import { createInterface } from 'node:readline';
import { Status } from 'millrace';
import { settled } from 'millrace/testing';
import { afterAll, beforeAll, describe, expect, onTestFinished, test } from 'vitest';
import { makeAuthority } from '../support/certificates/make.js';
import { binary, millrace, startMillrace } from '../support/cli.js';
import { eventually } from '../support/eventually.js';
import { project } from '../support/project.js';
import { protos, seen, startOldShop, startShop, startSilentShop } from './shop-server.js';

let target: string;
const stop: (() => Promise<unknown>)[] = [];

beforeAll(async () => {
  const server = await startShop();
  stop.push(() => server.close());
  target = `127.0.0.1:${server.port}`;
});
afterAll(async () => {
  for (const close of stop) await close();
});

const call = (...words: string[]) => millrace(['call', target, ...words]);

/** The one JSON value that a successful call prints. */
async function reply(...words: string[]): Promise<unknown> {
  const { code, stdout, stderr } = await call(...words);
  expect({ code, stderr }).toEqual({ code: 0, stderr: '' });
  expect(stdout.split('\n')).toHaveLength(2);
  return JSON.parse(stdout);
}

/** A field of every kind, in JSON as the mapping of proto3 writes it. */
const order = {
  id: '-9223372036854775808',
  serial: '18446744073709551615',
  balance: -5,
  checksum: '1',
  weight: 0.1,
  ratio: 0.1,
  open: true,
  seal: 'AAEC/w==',
  state: 'STATE_PAID',
  items: [{ name: 'ä', count: -1, price: { currency: 'EUR', units: '3' } }, {}],
  deltas: ['1', '-1', '4611686018427387904'],
  byName: { ä: { name: 'b' }, '': {} },
  states: { '-1': 'STATE_PAID', 7: 'STATE_UNSPECIFIED' },
  cash: { units: '1' },
  discount: 0,
  placedAt: '2026-01-02T03:04:05.006Z',
  patience: '-1.500s',
  extra: { a: [1, null, 'x', { b: true }] },
  note: null,
  visits: '0',
  nickname: '',
  attachment: { '@type': 'type.googleapis.com/shop.v1.Receipt', total: { units: '2' } },
  mask: 'placedAt,items.name',
  strange: 'name',
  history: ['STATE_PAID', 17],
  parts: [{ id: '1', attachment: { '@type': 'x/google.protobuf.Duration', value: '2s' } }],
};

describe('JSON', () => {
  test('every kind of field, both ways', async () => {
    expect(await reply('shop.v1.Orders/Get', JSON.stringify(order))).toEqual(order);
  });

  test('the same with a .proto file', async () => {
    const proto = ['--proto', `${protos}/shop/v1/orders.proto`, '--import-path', protos];
    expect(await reply('shop.v1.Orders/Get', JSON.stringify(order), ...proto)).toEqual(order);
  });

  test('what the mapping also accepts', async () => {
    const json = `{"id": 9007199254740993, "serial": 1e3, "discount": "12", "weight": "NaN", "ratio": "-Infinity",
      "seal": "-_8", "state": 1, "placed_at": "2026-01-02T05:04:05+02:00", "odd_name": "x", "items": null,
      "note": 9007199254740993, "visits": 9007199254740993}`;
    expect(await reply('shop.v1.Orders/Get', json)).toEqual({
      id: '9007199254740993',
      serial: '1000',
      discount: 12,
      weight: 'NaN',
      ratio: '-Infinity',
      seal: '+/8=',
      state: 'STATE_PAID',
      placedAt: '2026-01-02T03:04:05Z',
      strange: 'x',
      note: 9007199254740992,
      visits: '9007199254740993',
    });
  });

  test('no request is an empty one', async () => {
    expect(await reply('shop.v1.Orders.Get')).toEqual({});
    const { code, stdout } = await millrace(['call', target, '/shop.v1.Orders/Get', '-']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '{}\n' });
  });

  test('proto2', async () => {
    const legacy = { name: '', count: 0, numbers: [1, 2, 300] };
    expect(await reply('shop.v1.Archive/Keep', JSON.stringify(legacy))).toEqual(legacy);
  });

  test.each([
    ['{"id": 1,}', 'the JSON, line 1, column 9: nothing follows the comma but }'],
    [
      '{"items": [{"name": "a"}\n,{"count":: 1}]}',
      'line 2, column 11, field items[1].count: expected a value',
    ],
    [
      '{"items": [{"count": 1.5}]}',
      'line 1, column 22, field items[0].count: expected int32, got 1.5',
    ],
    [
      '{"byName": {"a.b": {"nam": 1}}}',
      'field byName["a.b"].nam: no such field in shop.v1.Order.Item',
    ],
    ['{"byName": {"a.b": {"nam": 1}}}', 'Did you mean name?'],
    ['{"state": "STATE_PAYD"}', 'line 1, column 11, field state: expected the name or number'],
    ['{"card": "x", "cash": {}}', "'card' of the same oneof is given too"],
    ['{"id": 9223372036854775808}', 'column 8, field id: expected int64'],
    ['{"placedAt": "yesterday"}', 'column 14, field placedAt: '],
    ['{"id": 1, "id": 2}', 'column 11, field id: the name is given twice'],
    ['{"nickname": "a\\x"}', 'column 16, field nickname: \\x is no escape of JSON'],
    ['{"nickname": "a', 'column 14, field nickname: the closing quote is missing'],
    ['{"attachment": {"@type": "x/shop.v1.None"}}', 'does not know shop.v1.None'],
    ['[]', 'expected an object, got an array'],
    ['{} {}', 'Get takes one shop.v1.Order, and there are several'],
  ])('%s', async (json, says) => {
    const { code, stdout, stderr } = await call('shop.v1.Orders/Get', json);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(says);
    expect(stderr).not.toContain('    at ');
  });
});

describe('the method', () => {
  test.each([
    ['shop.v1.Orders/Gett', 'Did you mean shop.v1.Orders/Get?'],
    ['shop.v1.Orders/Nonsense', 'It has Get, Fail, Wait'],
    ['shop.v1.Order/Get', 'Did you mean shop.v1.Orders/Get?'],
    ['Orders/Get', 'Did you mean shop.v1.Orders/Get?'],
    ['other.Thing/Get', 'It has grpc.reflection.v1.ServerReflection, '],
    ['Get', '"Get" is no name of a method'],
  ])('%s', async (method, says) => {
    const { code, stdout, stderr } = await call(method, '{}');
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(says);
  });
});

describe('no method', () => {
  test('is an error where nobody can be asked', async () => {
    const { code, stdout, stderr } = await millrace(['call', target]);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain("missing required argument 'method'");
  });

  const python = spawnSync('python3', ['-c', 'import pty']).status === 0;

  test.runIf(python)('is a question on a terminal', async () => {
    const terminal =
      'import os, pty, sys; sys.exit(os.waitstatus_to_exitcode(pty.spawn(sys.argv[1:])))';
    // A terminal without a size would have no columns to write into.
    const sized = 'stty cols 100 rows 40; exec "$@"';
    const child = spawn(
      'python3',
      ['-c', terminal, 'sh', '-c', sized, 'sh', process.execPath, binary, 'call', target],
      {
        env: { ...process.env, CI: '', TERM: 'xterm' },
      },
    );
    onTestFinished(() => void child.kill());
    let shown = '';
    const waitFor = (text: string) =>
      eventually(`"${text}" in ${JSON.stringify(shown)}`, () => shown.includes(text));
    child.stdout.on('data', (bytes: Buffer) => {
      shown += bytes.toString();
    });
    await waitFor('shop.v1.Archive/Keep');
    child.stdin.write('Orders/Get');
    await waitFor('shop.v1.Orders/Get');
    child.stdin.write('\r');
    const [code] = await once(child, 'close');
    expect(code).toBe(0);
    expect(shown.trimEnd().endsWith('{}')).toBe(true);
  });
});

describe('the description', () => {
  test('by v1alpha where there is no v1', async () => {
    const server = await startOldShop();
    stop.push(() => server.close());
    const old = `127.0.0.1:${server.port}`;
    const { code, stdout } = await millrace(['call', old, 'shop.v1.Orders/Get', '{"id": 3}']);
    expect({ code, stdout }).toEqual({ code: 0, stdout: '{"id":"3"}\n' });
  });

  test('without reflection: says what to do, and works with the file', async () => {
    const server = await startSilentShop();
    stop.push(() => server.close());
    const silent = `127.0.0.1:${server.port}`;
    const { code, stderr } = await millrace(['call', silent, 'shop.v1.Orders/Get']);
    expect(code).toBe(64 + Status.UNIMPLEMENTED);
    expect(stderr).toContain(`the server at ${silent} has no reflection`);
    expect(stderr).toContain('--proto');
    const found = await millrace(
      ['call', silent, 'shop.v1.Orders/Get', '{"id": 3}', '--proto', 'orders.proto'],
      { cwd: `${protos}/shop/v1` },
    );
    expect(found).toEqual({ code: 0, stdout: '{"id":"3"}\n', stderr: '' });
  });

  test('a .proto file that does not exist, or has an error', async () => {
    const missing = await call('shop.v1.Orders/Get', '--proto', 'none.proto');
    expect(missing).toMatchObject({ code: 1, stdout: '' });
    expect(missing.stderr).toContain('none.proto does not exist');
  });
});

describe('a status that is not OK', () => {
  test('its code is the exit code, and it is printed with its details', async () => {
    const detail = {
      '@type': 'type.googleapis.com/google.rpc.ErrorInfo',
      reason: 'SOLD_OUT',
      domain: 'shop.example.com',
    };
    const request = { code: Status.FAILED_PRECONDITION, message: 'größer', detail };
    const { code, stdout, stderr } = await call('shop.v1.Orders/Fail', JSON.stringify(request));
    expect({ code, stdout }).toEqual({ code: 64 + 9, stdout: '' });
    expect(stderr).toBe(
      'FAILED_PRECONDITION (9): größer\n' +
        '  google.rpc.ErrorInfo {"reason":"SOLD_OUT","domain":"shop.example.com"}\n',
    );
  });

  test('a deadline, of which the handler hears', async () => {
    const before = seen.cancelled;
    const proto = ['--proto', `${protos}/shop/v1/orders.proto`, '--import-path', protos];
    const { code, stderr } = await call('shop.v1.Orders/Wait', '--timeout', '2s', ...proto);
    expect(code).toBe(64 + Status.DEADLINE_EXCEEDED);
    expect(stderr).toContain('DEADLINE_EXCEEDED (4)');
    await eventually('the handler hears of it', () => seen.cancelled === before + 1);
  });

  test('nobody there', async () => {
    const { code, stdout, stderr } = await millrace(['call', '127.0.0.1:1', 'a.B/C', '{}']);
    expect({ code, stdout }).toEqual({ code: 64 + Status.UNAVAILABLE, stdout: '' });
    expect(stderr).toMatch(
      /cannot connect to 127.0.0.1:1: .*\nIs the service running at 127.0.0.1:1\? Start it \(in its project: npm run dev\), /,
    );
    const nowhere = await millrace(['call', 'nowhere.invalid:1', 'a.B/C', '{}']);
    expect(nowhere.code).toBe(64 + Status.UNAVAILABLE);
    expect(nowhere.stderr).toMatch(/does not resolve .*\nIs the name spelled right\?\n$/);
  });
});

describe('TLS', () => {
  const { authority, server: certified } = makeAuthority();

  test('with the authority it works, without it says why not', async () => {
    const ca = join(project({ 'ca.pem': authority.cert }), 'ca.pem');
    const { cert, key } = certified;
    const server = await startShop({ tls: { cert, key } });
    stop.push(() => server.close());
    const words = ['call', `127.0.0.1:${server.port}`, 'shop.v1.Orders/Get', '{"id": 3}'];
    expect(await millrace([...words, '--ca', ca])).toEqual({
      code: 0,
      stdout: '{"id":"3"}\n',
      stderr: '',
    });
    const untrusted = await millrace([...words, '--tls']);
    expect(untrusted.code).toBe(64 + Status.UNAVAILABLE);
    expect(untrusted.stderr).toContain('signed by none of the authorities');
    const misnamed = await millrace([...words, '--ca', ca, '--server-name', 'other.example']);
    expect(misnamed.code).toBe(64 + Status.UNAVAILABLE);
    expect(misnamed.stderr).toContain('other.example');
    const clear = await millrace(words);
    expect(clear.code).toBe(64 + Status.UNAVAILABLE);
  });
});

describe('flags', () => {
  test('metadata goes there, headers and trailers come back', async () => {
    const { code, stdout, stderr } = await call(
      ...['shop.v1.Orders/Metadata', '--metadata', 'x-one: 1', '--metadata', 'x-one:2'],
      ...['--metadata', 'x-two-bin:AQI=', '--verbose'],
    );
    expect({ code, stdout }).toEqual({ code: 0, stdout: '{}\n' });
    expect(seen.metadata).toEqual([
      ['x-one', '1'],
      ['x-one', '2'],
      ['x-two-bin', new Uint8Array([1, 2])],
    ]);
    expect(stderr).toContain('headers: x-header: first\n');
    expect(stderr).toContain('trailers: x-trailer-bin: AQI=\n');
  });

  test.each([
    [['--metadata', 'none'], 'Write it as name:value'],
    [['--metadata', 'grpc-status: 0'], 'the name "grpc-status" is reserved'],
    [['--timeout', '5'], 'Write a number with its unit'],
    [['--cert', 'only.pem'], 'tls.cert and tls.key go together'],
    [['--ca', 'no-such-file.pem'], 'no-such-file.pem'],
  ])('%s', async (flags, says) => {
    const { code, stdout, stderr } = await call('shop.v1.Orders/Get', '{}', ...flags);
    expect({ code, stdout }).toEqual({ code: 2, stdout: '' });
    expect(stderr).toContain(says);
  });

  test('a target that cannot be read', async () => {
    const { code, stderr } = await millrace(['call', 'http://x', 'a.B/C']);
    expect(code).toBe(2);
    expect(stderr).toContain('a target is no URL');
  });
});

describe('streams', () => {
  test('from the server: a line for each message', async () => {
    const { code, stdout } = await call('shop.v1.Orders/Count', '{"count": 3}');
    expect(code).toBe(0);
    expect(stdout).toBe('{"number":1}\n{"number":2}\n{"number":3}\n');
  });

  test('to the server: in the arguments, from standard input, in any layout', async () => {
    const sum = ['call', target, 'shop.v1.Orders/Sum'];
    expect(await millrace([...sum, '{"number": 1}{"number": 2}'])).toMatchObject({
      code: 0,
      stdout: '{"number":3}\n',
    });
    const input = '{"number": 1}\r\n\n{\n  "number": 2\n} {"number":3}{"number":4}';
    expect(await millrace([...sum, '-'], { input })).toMatchObject({
      code: 0,
      stdout: '{"number":10}\n',
    });
    expect(await millrace(sum, { input: '' })).toMatchObject({ code: 0, stdout: '{}\n' });
  });

  test('both ways at once: an answer comes before the next request is typed', async () => {
    const child = startMillrace(['call', target, 'shop.v1.Orders/Exchange']);
    const lines = createInterface({ input: child.stdout })[Symbol.asyncIterator]();
    for (const number of [1, 5, 7]) {
      child.stdin.write(`{"number": ${number}}\n`);
      expect((await lines.next()).value).toBe(`{"number":${number + 1}}`);
    }
    child.stdin.end();
    expect(await once(child, 'close')).toEqual([0, null]);
  });

  test('an error in the third line: what came before is answered, the place is named', async () => {
    const input = '{"number": 1}\n{"number": 2}\n{"number": x}\n{"number": 4}\n';
    const { code, stderr } = await millrace(['call', target, 'shop.v1.Orders/Exchange'], { input });
    expect(code).toBe(2);
    expect(stderr).toContain(
      'standard input, line 3, column 12, field number: expected a value, found x',
    );
  });

  test('input that is no text', async () => {
    const child = startMillrace(['call', target, 'shop.v1.Orders/Sum']);
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => {
      stderr += text.toString();
    });
    child.stdin.end(Buffer.from([0x7b, 0xff, 0x7d]));
    expect(await once(child, 'close')).toEqual([2, null]);
    expect(stderr).toContain('standard input is not UTF-8');
  });

  test('a status ends it though there is more input', async () => {
    const child = startMillrace(['call', target, 'shop.v1.Orders/Fail', '-']);
    child.stdin.write('{"code": 5}');
    child.stdin.end();
    expect(await once(child, 'close')).toEqual([64 + Status.NOT_FOUND, null]);
    const endless = startMillrace([
      ...['call', target, 'shop.v1.Orders/Exchange', '--timeout', '300ms'],
    ]);
    endless.stdin.write('{"number": 1}\n');
    expect(await once(endless, 'close')).toEqual([64 + Status.DEADLINE_EXCEEDED, null]);
  });

  test('--stats', async () => {
    const input = '{"number": 1}\n'.repeat(100);
    const words = ['call', target, 'shop.v1.Orders/Exchange', '--stats'];
    const { code, stdout, stderr } = await millrace(words, { input });
    expect(code).toBe(0);
    expect(stdout.split('\n')).toHaveLength(101);
    expect(stderr).toMatch(/^sent {6}100 \(\d+\/s\)$/m);
    expect(stderr).toMatch(/^received {2}100 \(\d+\/s\)$/m);
    expect(stderr).toMatch(/first response$/m);
    expect(stderr).toMatch(/^between .* median, .* 99th percentile, .* longest$/m);
  });

  test('whoever does not read the output holds up the server, not our memory', async () => {
    const total = 20_000;
    seen.sent = 0;
    const child = startMillrace([
      ...['call', target, 'shop.v1.Orders/Count', `{"count": ${total}, "bytes": 8192}`],
    ]);
    // Nobody reads: the server comes to a stop, long before the end.
    await eventually('the server sends', () => seen.sent > 0);
    expect(await settled(() => seen.sent, { quietMs: 200 })).toBeLessThan(total / 10);
    let lines = 0;
    for await (const _ of createInterface({ input: child.stdout })) lines++;
    expect(lines).toBe(total);
  });

  test('a reader that leaves ends it quietly', async () => {
    const child = startMillrace(['call', target, 'shop.v1.Orders/Count', '{"count": 1000000}']);
    let stderr = '';
    child.stderr.on('data', (text: Buffer) => {
      stderr += text.toString();
    });
    await once(child.stdout, 'data');
    child.stdout.destroy();
    expect(await once(child, 'close')).toEqual([0, null]);
    expect(stderr).toBe('');
  });
});
