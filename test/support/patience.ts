// Limits after which a test gives up tell right from wrong, not fast from slow. On a machine that is
// emulated they are longer: `npm run test:kernel` says by how much.

/** How many times longer than usual: the variable MILLRACE_TEST_PATIENCE, at least 1. */
const factor = Math.max(1, Number(process.env['MILLRACE_TEST_PATIENCE'] ?? 1) || 1);

/** A limit for this machine, of which an ordinary one needs a small part of `milliseconds`. */
export function patience(milliseconds: number): number {
  return milliseconds * factor;
}
