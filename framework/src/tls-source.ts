import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { MillraceError } from './errors.js';

/** Certificates or a key: PEM as text or bytes, or the path or `file:` URL of a file with PEM. */
export type TlsSource = string | URL | Uint8Array;

/** Whether a value could be one, before anything is read. */
export function isTlsSource(source: unknown): source is TlsSource {
  return (
    (typeof source === 'string' && source !== '') ||
    source instanceof Uint8Array ||
    (source instanceof URL && source.protocol === 'file:')
  );
}

/** The path of a file; `undefined` for PEM itself. */
export function pathOf(source: TlsSource | undefined): string | undefined {
  if (source instanceof URL) return fileURLToPath(source);
  if (typeof source !== 'string' || source.includes('-----BEGIN')) return undefined;
  return source;
}

/** The PEM. @throws MillraceError MILLRACE_TLS_FILE, naming the option */
export function readSource(name: string, source: TlsSource): string {
  const path = pathOf(source);
  if (path === undefined) {
    return typeof source === 'string' ? source : Buffer.from(source as Uint8Array).toString();
  }
  try {
    return readFileSync(path, 'latin1');
  } catch (error) {
    throw new MillraceError('MILLRACE_TLS_FILE', `tls.${name}: ${(error as Error).message}`, {
      cause: error,
    });
  }
}
