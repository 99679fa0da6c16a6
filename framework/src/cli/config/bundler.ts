import { createRequire } from 'node:module';
import { dirname, join, resolve } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Makes one ES module for Node.js of a TypeScript module and what it imports from its project. */
export interface Bundler {
  readonly name: string;
  /** The text of the bundle; packages stay imports. */
  bundle(file: string): Promise<string>;
  /**
   * Writes the modules, by their names, and what they import from the project into a folder, each
   * where it is below `root`, with source maps.
   */
  build(entries: Readonly<Record<string, string>>, root: string, folder: string): Promise<void>;
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
    return { name, ...make((module['default'] ?? module) as never) };
  }
  return undefined;
}

interface Rolldown {
  rolldown(options: object): Promise<{
    generate(options: object): Promise<{ output: [{ code: string }] }>;
    write(options: object): Promise<unknown>;
    close(): Promise<void>;
  }>;
}

interface Esbuild {
  build(options: object): Promise<{ outputFiles: { text: string }[] }>;
}

/** What is not beside the file is a package, which is left to Node.js. */
const PACKAGE = /^(?![./]|[A-Za-z]:)/;

const MAKERS = {
  rolldown: ({ rolldown }: Rolldown): Omit<Bundler, 'name'> => {
    const open = (input: string | object, cwd: string) =>
      rolldown({ input, cwd, platform: 'node', external: PACKAGE, logLevel: 'silent' });
    return {
      async bundle(file) {
        const bundle = await open(file, dirname(file));
        try {
          const { output } = await bundle.generate({ format: 'esm', codeSplitting: false });
          return output[0].code;
        } finally {
          await bundle.close();
        }
      },
      async build(entries, root, folder) {
        const bundle = await open(entries, root);
        try {
          await bundle.write({
            dir: folder,
            format: 'esm',
            sourcemap: true,
            // A module that names another by its address finds it where it is in the sources.
            preserveModules: true,
            preserveModulesRoot: root,
            entryFileNames: '[name].js',
          });
        } finally {
          await bundle.close();
        }
      },
    };
  },
  esbuild: ({ build }: Esbuild): Omit<Bundler, 'name'> => {
    const common = {
      bundle: true,
      platform: 'node',
      target: 'node20',
      format: 'esm',
      packages: 'external',
      logLevel: 'silent',
    };
    return {
      async bundle(file) {
        const { outputFiles } = await build({
          ...common,
          entryPoints: [file],
          absWorkingDir: dirname(file),
          outfile: join(dirname(file), 'bundle.mjs'),
          write: false,
        });
        return outputFiles[0]?.text ?? '';
      },
      async build(entries, root, folder) {
        await build({
          ...common,
          entryPoints: Object.values(entries),
          absWorkingDir: root,
          outbase: root,
          outdir: resolve(folder),
          splitting: true,
          sourcemap: true,
        });
      },
    };
  },
};
