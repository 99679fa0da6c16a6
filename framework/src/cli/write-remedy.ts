/** What can be done about a file that cannot be written, by the code of the system; a sentence. */
export function writeRemedy(error: unknown): string {
  const { code } = error instanceof Error ? (error as NodeJS.ErrnoException) : {};
  if (code === 'ENOSPC' || code === 'EDQUOT') return 'Make room on the disk.';
  return 'Run it in a folder in which you may write.';
}
