import { CliError } from '../cli-error.js';
import { render } from '../proto/diagnostic.js';
import type { GenerateError } from './generate-error.js';

/** Every error with its line of source, and how many there are. */
export function explained(error: GenerateError): CliError {
  const { diagnostics } = error;
  const count = diagnostics.length === 1 ? '1 error' : `${diagnostics.length} errors`;
  const text = `${diagnostics.map(render).join('\n')}\n${count}; nothing was written`;
  return new CliError(text, { cause: error });
}
