import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import type { MessageType } from '../../codec/index.js';
import { generate } from './generate.js';
import { write } from './write.js';

/** The .proto files that the tests of the generator and the codecs share. */
export const TEST_PROTOS = fileURLToPath(new URL('../../../test/codegen/protos', import.meta.url));

// biome-ignore lint/suspicious/noExplicitAny: a module of types that exist only once it is generated
export type AnyMessageType = MessageType<any, any>;

/** The exports of a generated module. */
export type GeneratedModule = Record<string, AnyMessageType>;

/**
 * Generates the modules of the .proto files into a new folder under the temporary one and imports
 * that of `path`, as the test runner sees it: against the sources of the codec runtime.
 */
export async function importGenerated(path: string): Promise<GeneratedModule> {
  const out = mkdtempSync(join(tmpdir(), 'millrace-codegen-'));
  const runtime = fileURLToPath(new URL('../../codec/index.ts', import.meta.url));
  try {
    write(generate({ proto: [TEST_PROTOS], runtime }), out);
    return (await import(/* @vite-ignore */ join(out, path))) as GeneratedModule;
  } finally {
    rmSync(out, { recursive: true, force: true });
  }
}
