import { CliError } from './cli-error.js';

/**
 * Whether there is a person to be asked: never in a pipeline or in continuous integration, nor where
 * the terminal cannot draw a question.
 *
 * @param output where the question would appear
 */
export function canAsk(output: NodeJS.WriteStream = process.stderr): boolean {
  const { CI, TERM } = process.env;
  return process.stdin.isTTY === true && output.isTTY === true && !CI && TERM !== 'dumb';
}

/**
 * Lets a person choose one of some values. Asks on standard error: standard output is for results.
 *
 * @throws CliError if nothing is chosen
 */
export async function choose(question: string, values: readonly string[]): Promise<string> {
  const { autocomplete, isCancel } = await import('@clack/prompts');
  const chosen = await autocomplete({
    message: question,
    options: values.map((value) => ({ value, label: value })),
    maxItems: 12,
    output: process.stderr,
  });
  if (isCancel(chosen)) throw new CliError('Nothing was chosen.');
  return chosen;
}
