import { createRequire } from 'node:module';
import { dirname, join } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Makes one ES module for Node.js of a TypeScript module and what it imports from its project. */
export interface Bundler {
  readonly name: string;
  /** The text of the bundle; packages stay imports. */
  bundle(file: string): Promise<string>;
}

/**
 * The bundler of the project in which the file lies: rolldown or esbuild, whichever is installed.
 * Millrace brings none of its own, so that a project has one, in a version that it chose.
 */
export async function findBundler(file: string): Promise<Bundler | undefined> {
  const require = createRequire(file);
  for (const [name, make] of Object.entries(MAKERS)) {
    let entry: string;
    try {
      entry = require.resolve(name);
    } catch {
      continue;
    }
    const module = (await import(pathToFileURL(entry).href)) as Record<string, unknown>;
    return { name, bundle: make((module['default'] ?? module) as never) };
  }
  return undefined;
}

interface Rolldown {
  rolldown(options: object): Promise<{
    generate(options: object): Promise<{ output: [{ code: string }] }>;
    close(): Promise<void>;
  }>;
}

interface Esbuild {
  build(options: object): Promise<{ outputFiles: { text: string }[] }>;
}

/** What is not beside the file is a package, which is left to Node.js. */
const PACKAGE = /^(?![./]|[A-Za-z]:)/;

const MAKERS = {
  rolldown:
    ({ rolldown }: Rolldown) =>
    async (file: string) => {
      const bundle = await rolldown({
        input: file,
        cwd: dirname(file),
        platform: 'node',
        external: PACKAGE,
        logLevel: 'silent',
      });
      try {
        const { output } = await bundle.generate({ format: 'esm', codeSplitting: false });
        return output[0].code;
      } finally {
        await bundle.close();
      }
    },
  esbuild:
    ({ build }: Esbuild) =>
    async (file: string) => {
      const { outputFiles } = await build({
        entryPoints: [file],
        absWorkingDir: dirname(file),
        outfile: join(dirname(file), 'bundle.mjs'),
        bundle: true,
        write: false,
        platform: 'node',
        target: 'node20',
        format: 'esm',
        packages: 'external',
        logLevel: 'silent',
      });
      return outputFiles[0]?.text ?? '';
    },
};
