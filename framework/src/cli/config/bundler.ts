import { createRequire } from 'node:module';
import { dirname } from 'node:path';
import { pathToFileURL } from 'node:url';

/** Makes ES modules for Node.js of TypeScript modules and what they import from their project. */
export interface Bundler {
  /** The text of one module that holds all of it; packages stay imports, unless they are asked for too. */
  bundle(file: string, withPackages?: boolean): Promise<string>;
  /** The modules, by their names, and what they import, each kept where it is below `root`. */
  open(entries: Readonly<Record<string, string>>, root: string): Promise<Bundle>;
}

/** What is built again and again, as its sources change. */
export interface Bundle {
  /**
   * Writes the modules as they are now into a folder, with source maps.
   *
   * @throws Error of the bundler, for what it cannot parse or find; the next write may do
   */
  write(folder: string): Promise<void>;
  close(): Promise<void>;
}

/**
 * The rolldown of the project in which the file lies; Millrace brings none of its own, so that a
 * project has one, in a version that it chose.
 */
export async function findBundler(file: string): Promise<Bundler | undefined> {
  let entry: string;
  try {
    entry = createRequire(file).resolve('rolldown');
  } catch {
    return undefined;
  }
  return bundlerOf((await import(pathToFileURL(entry).href)) as Rolldown);
}

/** What is asked of rolldown. */
interface Rolldown {
  rolldown(options: object): Promise<{
    generate(options: object): Promise<{ output: [{ code: string }] }>;
    write(options: object): Promise<unknown>;
    close(): Promise<void>;
  }>;
}

/** What is not beside the file is a package, which is left to Node.js. */
const PACKAGE = /^(?![./]|[A-Za-z]:)/;

function bundlerOf({ rolldown }: Rolldown): Bundler {
  const open = (input: string | object, cwd: string, external: RegExp = PACKAGE) =>
    rolldown({ input, cwd, platform: 'node', external, logLevel: 'silent' });
  return {
    async bundle(file, withPackages = false) {
      const bundle = await open(file, dirname(file), withPackages ? /^node:/ : PACKAGE);
      try {
        const { output } = await bundle.generate({ format: 'esm', codeSplitting: false });
        return output[0].code;
      } finally {
        await bundle.close();
      }
    },
    async open(entries, root) {
      const bundle = await open(entries, root);
      return {
        async write(folder) {
          await bundle.write({
            dir: folder,
            format: 'esm',
            sourcemap: true,
            // A module that names another by its address finds it where it is in the sources.
            preserveModules: true,
            preserveModulesRoot: root,
            entryFileNames: '[name].js',
          });
        },
        close: () => bundle.close(),
      };
    },
  };
}
