/** What `millrace.config.ts` may say. Paths are relative to its folder. */
export interface MillraceConfig {
  /** .proto files, and folders that hold some. Default: `protos`. */
  readonly protos?: string | readonly string[];
  /** The folder in which generated modules go. Default: `src/gen`. */
  readonly out?: string;
  /** Further folders in which imports of .proto files are looked for. */
  readonly importPaths?: string | readonly string[];
  /** What generated modules import the codecs from. Default: `millrace/codec`. */
  readonly runtime?: string;
  /** The module that `millrace dev` runs. Default: `src/main.ts`. */
  readonly entry?: string;
  /** The address on which `millrace dev` and `millrace serve` listen. */
  readonly host?: string;
  /** The port on which `millrace dev` and `millrace serve` listen, 0 to 65535; 0 is any free one. */
  readonly port?: number;
}

/**
 * Types the configuration, and returns it as it is.
 *
 * ```ts
 * export default defineConfig({ protos: 'api', out: 'src/gen' });
 * ```
 */
export function defineConfig(config: MillraceConfig): MillraceConfig {
  return config;
}
