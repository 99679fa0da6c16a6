import { basename } from 'node:path';
import { type FSWatcher, watch } from 'chokidar';

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
  let paths = new Set(await job());
  let running: Promise<void> | undefined;
  let again = false;
  let closed = false;
  let timer: NodeJS.Timeout | undefined;
  const watcher: FSWatcher = watch([...paths], {
    // What is found when watching begins counts as changed: it may have, since it was read.
    ignoreInitial: false,
    ignored: (path, stats) =>
      stats?.isFile() === true
        ? !wanted(path) && !paths.has(path)
        : ['node_modules', '.git', '.millrace'].includes(basename(path)),
  });
  const run = async (): Promise<void> => {
    do {
      again = false;
      const next = await job();
      watcher.add(next.filter((path) => !paths.has(path)));
      paths = new Set([...paths, ...next]);
    } while (again && !closed);
    running = undefined;
  };
  const changed = () => {
    clearTimeout(timer);
    timer = setTimeout(() => {
      if (running) again = true;
      else running = run();
    }, SETTLE_MS);
  };
  watcher.on('all', changed);
  // A folder that cannot be watched is not worth ending for; the rest goes on.
  watcher.on('error', (error) => process.stderr.write(`cannot watch: ${String(error)}\n`));
  await new Promise<void>((resolve) => watcher.once('ready', resolve));
  // What changed between the watcher's look at a file and the beginning of its watch, it has missed.
  changed();
  return {
    async close() {
      closed = true;
      clearTimeout(timer);
      await watcher.close();
      await running;
    },
  };
}
