import { FileWatch } from './file-watch.js';

/** Editors and version control change several files at once; what comes within this is one change. */
const SETTLE_MS = 50;

/** Runs a job now and after each change of files, one run at a time. */
export interface Watch {
  /** Ends after the run that is under way. */
  close(): Promise<void>;
}

/**
 * Watches .proto files, and the configuration, and runs `job` now and after changes. What changes
 * during a run leads to another.
 *
 * @param job does the work, and answers the files and folders to watch from then on; must not throw
 * @param wanted which files of those folders count
 */
export async function watchProtos(
  job: () => Promise<readonly string[]>,
  wanted: (path: string) => boolean = (path) => path.endsWith('.proto'),
): Promise<Watch> {
  let running: Promise<void> | undefined;
  let again = false;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (running) again = true;
      else running = run();
    }, SETTLE_MS);
  };
  const files = new FileWatch(wanted, {
    changed,
    // A folder that cannot be watched is not worth ending for; the rest goes on.
    failed: (error) => process.stderr.write(`cannot watch: ${String(error)}\n`),
  });
  const run = async (): Promise<void> => {
    do {
      again = false;
      const next = await job();
      if (!closed) files.add(next);
    } while (again && !closed);
    running = undefined;
  };
  // What changes before its folder is watched leads to a second run.
  files.add(await job());
  return {
    async close() {
      closed = true;
      clearTimeout(timer);
      files.close();
      await running;
    },
  };
}
