import { describe, expect, test } from 'vitest';
import { addHandler, addToServices, makesService } from './edit-typescript.js';

const HANDLER = ['async list(request) {', '  return {};', '}'];
const add = (text: string) => addHandler(text, 'Orders', 'list', HANDLER);

describe('a handler', () => {
  test('goes behind the last one', () => {
    expect(
      add('export const orders = service(Orders, {\n  async get() {\n    return {};\n  },\n});\n'),
    ).toBe(
      'export const orders = service(Orders, {\n  async get() {\n    return {};\n  },\n\n  async list(request) {\n    return {};\n  },\n});\n',
    );
  });

  test('gets a comma before it if there is none, and stays clear of comments', () => {
    expect(add('service(Orders, {\n\tget: handlers.get // }\n\t/* the end */\n});')).toBe(
      'service(Orders, {\n\tget: handlers.get, // }\n\t/* the end */\n\n\tasync list(request) {\n\t\treturn {};\n\t},\n});',
    );
    expect(add('service(Orders, {\n  ...rest\n});')).toBe(
      'service(Orders, {\n  ...rest,\n\n  async list(request) {\n    return {};\n  },\n});',
    );
  });

  test('goes into an empty object, and into one of a single line', () => {
    expect(add('  x = service(Orders, {});')).toBe(
      '  x = service(Orders, {\n    async list(request) {\n      return {};\n    },\n  });',
    );
    expect(add('service(Orders, { get });')).toBe(
      'service(Orders, { get,\n\n  async list(request) {\n    return {};\n  },\n});',
    );
  });

  test('that is there is not added again', () => {
    const text = 'service(Orders, {\n  list: undefined as never,\n});';
    expect(add(text)).toBe(text);
  });

  test('leaves strings, templates, patterns and other services alone', () => {
    const text = `const a = '})'; const b = \`\${a} })\`; const c = /[})]\\/}/.test(a); const d = 4 / 2;
service(Others, { get() {} });
service(Orders, {
  get() { return { text: "}" }; },
}, { interceptors: [] });
`;
    expect(add(text)).toBe(
      text.replace('},\n}, {', '},\n\n  async list(request) {\n    return {};\n  },\n}, {'),
    );
  });

  test.each([
    ['no such service', 'service(Others, {});'],
    ['two of them', 'service(Orders, {}); service(Orders, {});'],
    ['handlers from elsewhere', 'service(Orders, handlers);'],
    ['only in a comment', '// service(Orders, {})'],
    ['brackets that do not match', 'service(Orders, {}); )'],
    ['a string without end', "service(Orders, {}); const a = 'b"],
    ['a template with more than names', `service(Orders, {}); const a = \`\${b({ c: \`}\` })}\`;`],
  ])('is for people to add: %s', (_, text) => {
    expect(add(text)).toBeUndefined();
  });
});

test('a module is known by the service that it makes', () => {
  expect(makesService('export const a = service(Orders, {});', 'Orders')).toBe(true);
  expect(makesService('x.service(Orders, {}); "service(Orders, {})"', 'Orders')).toBe(false);
});

describe('the list of services', () => {
  const register = (text: string) => addToServices(text, 'orders', './services/orders.js');

  test('of one line, with imports in order', () => {
    expect(
      register(
        "import { a } from './services/a.js';\nimport { z } from './services/z.js';\n\nexport const services = [a, z];\n",
      ),
    ).toBe(
      "import { a } from './services/a.js';\nimport { orders } from './services/orders.js';\nimport { z } from './services/z.js';\n\nexport const services = [a, z, orders];\n",
    );
  });

  test('of several lines, with a type, calls and comments', () => {
    expect(
      register(
        'import { health } from "@millrace/health"; // one\r\nexport const services: Service[] = [\r\n\thealth(), // two\r\n];\r\n',
      ),
    ).toBe(
      'import { health } from "@millrace/health"; // one\r\nimport { orders } from "./services/orders.js";\r\nexport const services: Service[] = [\r\n\thealth(), // two\r\n\torders,\r\n];\r\n',
    );
  });

  test('that is empty, without imports and without semicolons', () => {
    expect(register('// All.\nexport const services = []\n')).toBe(
      "// All.\nimport { orders } from './services/orders.js';\n\nexport const services = [orders]\n",
    );
    expect(register("import 'x'\nexport const services = [a]\n")).toBe(
      "import 'x'\nimport { orders } from './services/orders.js'\nexport const services = [a, orders]\n",
    );
  });

  test.each([
    ['no list', 'export const others = [];'],
    ['a list made otherwise', 'export const services = list();'],
    ['the name is taken', 'const orders = 1; export const services = [];'],
  ])('is for people to edit: %s', (_, text) => {
    expect(register(text)).toBeUndefined();
  });
});
