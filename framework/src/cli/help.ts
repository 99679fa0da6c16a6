/**
 * Examples as the end of a command's help: `.addHelpText('after', examples(…))`.
 *
 * @param rows a command line without `millrace`, and what it does
 */
export function examples(...rows: readonly (readonly [line: string, what: string])[]): string {
  const lines = rows.map(([line, what]) => `  # ${what}\n  $ millrace ${line}`);
  return `\nExamples:\n${lines.join('\n')}`;
}
