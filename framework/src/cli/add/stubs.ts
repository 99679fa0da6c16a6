import { methodName } from '../generate/names.js';
import type { ServiceNames } from './names.js';

/** The kinds of methods, as `--kind` calls them. */
export const KINDS = ['unary', 'client', 'server', 'bidi'] as const;

export type Kind = (typeof KINDS)[number];

/** A method that is to be added. */
export interface NewMethod {
  readonly name: string;
  readonly kind: Kind;
  readonly request: string;
  readonly response: string;
}

/** The statement of the method in a .proto file. */
export function rpcStatement({ name, kind, request, response }: NewMethod): string {
  const input = kind === 'client' || kind === 'bidi' ? `stream ${request}` : request;
  const output = kind === 'server' || kind === 'bidi' ? `stream ${response}` : response;
  return `rpc ${name}(${input}) returns (${output});`;
}

/** The messages of the method in a .proto file. */
export function messageDeclarations({ request, response }: NewMethod): string[][] {
  return [request, response].map((name) => [`message ${name} {`, '  string text = 1;', '}']);
}

/** A service with one method, as the whole of a .proto file, or for the end of one. */
export function serviceDeclarations(service: ServiceNames, method: NewMethod): string[][] {
  return [
    [`service ${service.proto} {`, `  ${rpcStatement(method)}`, '}'],
    ...messageDeclarations(method),
  ];
}

/** A handler that works as it is, and shows the form of its kind; without a comma behind it. */
export function handlerLines({ name, kind }: NewMethod): string[] {
  const property = methodName(name);
  switch (kind) {
    case 'unary':
      return [`async ${property}(request) {`, '  return { text: request.text };', '}'];
    case 'client':
      return [
        `async ${property}(requests) {`,
        "  let text = '';",
        '  for await (const request of requests) text += request.text;',
        '  return { text };',
        '}',
      ];
    case 'server':
      return [`async *${property}(request) {`, '  yield { text: request.text };', '}'];
    case 'bidi':
      return [
        `async *${property}(requests) {`,
        '  for await (const request of requests) yield { text: request.text };',
        '}',
      ];
  }
}

/** The module of a service. */
export function serviceModule(service: ServiceNames, method: NewMethod, generated: string): string {
  const lines = handlerLines(method).map((line) => `  ${line}`);
  return `import { service } from 'millrace';
import { ${service.descriptor} } from '${generated}';

export const ${service.constant} = service(${service.descriptor}, {
${lines.join('\n')},
});
`;
}

/** Where a test finds what it tests. */
export interface TestImports {
  readonly generated: string;
  readonly implementation: string;
}

/** The test of a method that its handler, as it was written, passes. */
export function testModule(
  { descriptor, constant }: ServiceNames,
  method: NewMethod,
  { generated, implementation }: TestImports,
): string {
  return `import { startTest } from 'millrace/testing';
import { expect, test } from 'vitest';
import { ${descriptor} } from '${generated}';
import { ${constant} } from '${implementation}';

${testLines(method, `t.client(${descriptor})`, `startTest({ services: [${constant}] })`).join('\n')}
`;
}

function testLines({ name, kind }: NewMethod, client: string, start: string): string[] {
  const call = `${client}.${methodName(name)}`;
  const one = "{ text: 'hello' }";
  const two = "[{ text: 'one' }, { text: 'two' }]";
  const reply = (given: string, expected: string): string[] => [
    `  const reply = await ${call}(${given});`,
    `  expect(reply).toEqual({ text: '${expected}' });`,
  ];
  const replies = (given: string, expected: string): string[] => [
    `  const replies = ${call}(${given});`,
    '  const texts = [];',
    '  for await (const { text } of replies) texts.push(text);',
    `  expect(texts).toEqual([${expected}]);`,
  ];
  const [title, lines] = {
    unary: ['answers with one message', reply(one, 'hello')] as const,
    client: ['answers a stream with one message', reply(two, 'onetwo')] as const,
    server: ['answers with a stream', replies(one, "'hello'")] as const,
    bidi: ['answers a stream with a stream', replies(two, "'one', 'two'")] as const,
  }[kind];
  return [
    `test('${name} ${title}', async () => {`,
    `  await using t = await ${start};`,
    ...lines,
    '});',
  ];
}

/** The module that lists the services of a project. */
export function servicesModule(constant: string, specifier: string): string {
  return `import { ${constant} } from '${specifier}';\n\nexport const services = [${constant}];\n`;
}
