#!/usr/bin/env node
// `npm create millrace NAME` is `millrace new NAME`, of the version that this package depends on.

import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

const manifest = createRequire(import.meta.url).resolve('millrace/package.json');
const program = join(dirname(manifest), 'dist/cli/main.js');

// The program reads its words from here.
process.argv.splice(1, 1, program, 'new');
await import(pathToFileURL(program).href);
