import { type Diagnostic, headline, sorted } from '../proto/diagnostic.js';

/** .proto files that cannot be turned into TypeScript: all that is wrong with them. */
export class GenerateError extends Error {
  override readonly name = 'GenerateError';
  readonly code = 'MILLRACE_GENERATE';
  /** By file and place. */
  readonly diagnostics: readonly Diagnostic[];

  constructor(diagnostics: readonly Diagnostic[]) {
    const inOrder = sorted(diagnostics);
    super(inOrder.map(headline).join('\n'));
    this.diagnostics = inOrder;
  }
}
