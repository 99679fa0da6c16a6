import { type Dirent, type FSWatcher, readdirSync, realpathSync, statSync, watch } from 'node:fs';
import { basename, dirname, join, resolve, sep } from 'node:path';

/** Folders in which nothing is looked at, wherever they are. */
const LEFT_OUT = new Set(['node_modules', '.git', '.millrace']);

/** Told of each change, and of what cannot be watched. */
export interface FileWatchListener {
  changed(): void;
  failed(error: Error): void;
}

/**
 * Tells that files have changed, of which it misses no change: a folder is watched before it is read;
 * one that comes, or takes the place of another, is looked through; and after that it says that
 * something has changed, since what was written in between was not seen. It watches folders and no
 * files, as the file that is watched may not be the one that has its name later.
 */
export class FileWatch {
  readonly #wanted: (path: string) => boolean;
  readonly #listener: FileWatchListener;
  readonly #roots = new Set<string>();
  readonly #watchers = new Map<string, FSWatcher>();
  readonly #refused = new Set<string>();
  #seen: Seen = { trees: new Set(), linked: new Set(), above: new Set(), real: new Set() };
  /** Whether a folder came or went since it was last said that something has changed. */
  #stale = false;
  #looking: NodeJS.Immediate | undefined;

  /** @param wanted which files in folders count */
  constructor(wanted: (path: string) => boolean, listener: FileWatchListener) {
    this.#wanted = wanted;
    this.#listener = listener;
  }

  /** Watches these files, and folders with all in them, from now on, also where they come only later. */
  add(paths: readonly string[]): void {
    const before = this.#roots.size;
    for (const path of paths) this.#roots.add(resolve(path));
    if (this.#roots.size > before) this.#look();
  }

  close(): void {
    clearImmediate(this.#looking);
    for (const watcher of this.#watchers.values()) watcher.close();
    this.#watchers.clear();
  }

  /** Watches every folder that has to be, and no other. */
  #look(): void {
    this.#looking = undefined;
    const seen: Seen = { trees: new Set(), linked: new Set(), above: new Set(), real: new Set() };
    for (const root of this.#roots) {
      // Where it comes, or is replaced.
      let above = dirname(root);
      while (!isFolder(above) && above !== dirname(above)) above = dirname(above);
      seen.above.add(above);
      this.#follow(above);
      if (isFolder(root)) this.#walk(root, seen);
    }
    for (const folder of this.#watchers.keys()) {
      if (!seen.trees.has(folder) && !seen.above.has(folder)) this.#drop(folder);
    }
    this.#seen = seen;
    if (this.#stale) {
      this.#stale = false;
      this.#listener.changed();
    }
  }

  #walk(folder: string, seen: Seen): void {
    this.#follow(folder);
    const [real, entries] = [realPath(folder), entriesOf(folder)];
    if (real === undefined || seen.real.has(real)) return;
    seen.real.add(real);
    seen.trees.add(folder);
    for (const entry of entries) {
      if (LEFT_OUT.has(entry.name)) continue;
      const path = join(folder, entry.name);
      if (entry.isSymbolicLink() ? isFolder(path) : entry.isDirectory()) this.#walk(path, seen);
      else if (entry.isSymbolicLink() && this.#wanted(path)) {
        const target = realPath(path);
        if (target === undefined) continue;
        seen.linked.add(target);
        seen.above.add(dirname(target));
        this.#follow(dirname(target));
      }
    }
  }

  #follow(folder: string): void {
    if (this.#watchers.has(folder)) return;
    try {
      const watcher = watch(folder, (type, name) => this.#event(folder, type, name));
      watcher.on('error', (error) => {
        this.#close(folder);
        this.#refuse(folder, error);
      });
      this.#watchers.set(folder, watcher);
      this.#stale = true;
    } catch (error) {
      this.#refuse(folder, error as NodeJS.ErrnoException);
    }
  }

  #refuse(folder: string, error: NodeJS.ErrnoException): void {
    // One that has gone is found again by what is above.
    if (error.code === 'ENOENT' || error.code === 'ENOTDIR' || error.code === 'EPERM') return;
    if (this.#refused.has(folder)) return;
    this.#refused.add(folder);
    this.#listener.failed(error);
  }

  #event(folder: string, type: string, name: string | null): void {
    const path = name === null ? folder : join(folder, name);
    const counts = this.#counts(folder, path);
    if (type === 'rename') {
      // What is there now may be another folder than the one that was watched; a folder that is
      // itself moved or removed is told by its own name.
      if (name === null || name === basename(folder)) this.#drop(folder);
      this.#drop(path);
      if (this.#seen.trees.has(folder) || counts || this.#leads(path)) {
        this.#looking ??= setImmediate(() => this.#look());
      }
    }
    if (counts) this.#listener.changed();
  }

  #counts(folder: string, path: string): boolean {
    const { trees, linked } = this.#seen;
    if (this.#roots.has(path) || linked.has(path)) return true;
    return trees.has(folder) && !LEFT_OUT.has(basename(path)) && this.#wanted(path);
  }

  /** Whether a root is below. */
  #leads(path: string): boolean {
    return [...this.#roots].some((root) => root.startsWith(path + sep));
  }

  /** Ends the watch of a folder and of those below. */
  #drop(folder: string): void {
    for (const path of [...this.#watchers.keys()]) {
      if (path === folder || path.startsWith(folder + sep)) this.#close(path);
    }
  }

  #close(folder: string): void {
    this.#watchers.get(folder)?.close();
    if (this.#watchers.delete(folder) && this.#seen.trees.has(folder)) this.#stale = true;
  }
}

/** What a look has found. */
interface Seen {
  /** Folders in which every file that is wanted counts. */
  readonly trees: Set<string>;
  /** Files outside of them to which links lead. */
  readonly linked: Set<string>;
  /** Folders that are watched for the names of some files and folders in them. */
  readonly above: Set<string>;
  /** The folders without links, so that none is walked twice. */
  readonly real: Set<string>;
}

/** Not one either: a link to itself, or what may not be looked at. */
function isFolder(path: string): boolean {
  try {
    return statSync(path, { throwIfNoEntry: false })?.isDirectory() === true;
  } catch {
    return false;
  }
}

function realPath(path: string): string | undefined {
  try {
    return realpathSync(path);
  } catch {
    return undefined;
  }
}

/** Nothing, if it has gone. */
function entriesOf(folder: string): Dirent[] {
  try {
    return readdirSync(folder, { withFileTypes: true });
  } catch {
    return [];
  }
}
