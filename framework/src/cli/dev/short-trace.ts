/**
 * What was thrown, for somebody who edits the program: of the trace only the frames of the project's own
 * sources, by their paths in it. What caused it follows.
 *
 * @param folder the project's, absolute
 */
export function shortTrace(thrown: unknown, folder: string): string {
  if (!(thrown instanceof Error)) return `thrown: ${String(thrown)}`;
  const lines = (thrown.stack ?? `${thrown.name}: ${thrown.message}`).split('\n');
  const first = lines.findIndex((line) => FRAME.test(line));
  const head = first === -1 ? lines : lines.slice(0, first);
  const frames = first === -1 ? [] : lines.slice(first).filter((line) => isOwn(line, folder));
  const text = [...head, ...frames]
    .join('\n')
    .replaceAll(`file://${folder}/`, '')
    .replaceAll(`${folder}/`, '');
  return thrown.cause === undefined
    ? text
    : `${text}\ncaused by ${shortTrace(thrown.cause, folder)}`;
}

const FRAME = /^\s+at /;

function isOwn(frame: string, folder: string): boolean {
  return (
    FRAME.test(frame) &&
    frame.includes(`${folder}/`) &&
    !/\/(node_modules|\.millrace)\//.test(frame)
  );
}
