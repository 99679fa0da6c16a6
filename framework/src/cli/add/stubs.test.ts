import { execFileSync } from 'node:child_process';
import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { expect, test } from 'vitest';
import { namesOfService } from './names.js';
import { KINDS, serviceModule, servicesModule, testModule } from './stubs.js';

const require = createRequire(import.meta.url);
const framework = fileURLToPath(new URL('../../..', import.meta.url));
const biome = join(dirname(require.resolve('@biomejs/biome/package.json')), 'bin', 'biome');

test.each(KINDS)(
  'what is written for %s is formatted as Biome would',
  (kind) => {
    const service = namesOfService('OrderItems');
    const method = { name: 'List', kind, request: 'ListRequest', response: 'ListResponse' };
    const generated = '../src/gen/order_items/v1/order_items.js';
    const texts = [
      serviceModule(service, method, generated),
      testModule(service, method, { generated, implementation: '../src/services/order-items.js' }),
      servicesModule(service.constant, './services/order-items.js'),
    ];
    for (const text of texts) {
      const words = [biome, 'format', '--stdin-file-path=module.ts'];
      const options = { input: text, cwd: framework, encoding: 'utf8' } as const;
      expect(execFileSync(process.execPath, words, options)).toBe(text);
    }
  },
  30_000,
);
