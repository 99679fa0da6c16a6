import { type ChildProcess, spawn } from 'node:child_process';
import { existsSync } from 'node:fs';
import { createRequire } from 'node:module';
import { constants, setPriority } from 'node:os';
import { dirname, join, resolve } from 'node:path';

/** What is shown of many errors. */
const LINES_MAX = 20;
const CONFIG = 'tsconfig.json';

/**
 * Checks the project's types beside the program that runs, with the project's own compiler and after
 * everybody else: what does not type-check is said, and served all the same.
 */
export class TypeCheck {
  readonly #compiler: string;
  readonly #say: (text: string) => void;
  #child: ChildProcess | undefined;
  #said = '';

  /** Undefined where the project has no compiler or no settings for it. */
  static of(entry: string, say: (text: string) => void): TypeCheck | undefined {
    if (!existsSync(CONFIG)) return undefined;
    try {
      const manifest = createRequire(resolve(entry)).resolve('typescript/package.json');
      return new TypeCheck(join(dirname(manifest), 'bin/tsc'), say);
    } catch {
      return undefined;
    }
  }

  private constructor(compiler: string, say: (text: string) => void) {
    this.#compiler = compiler;
    this.#say = say;
  }

  /** Checks what the sources are now, instead of what was being checked. */
  start(): void {
    this.stop();
    const words = [this.#compiler, '--noEmit', '--pretty', 'false', '--project', CONFIG];
    const child = spawn(process.execPath, words, {
      stdio: ['ignore', 'pipe', 'pipe'],
      // A process group of its own, with what the compiler starts in turn.
      detached: true,
    });
    this.#child = child;
    let output = '';
    for (const stream of [child.stdout, child.stderr]) {
      stream.setEncoding('utf8').on('data', (text: string) => {
        output += text;
      });
    }
    try {
      setPriority(child.pid!, constants.priority.PRIORITY_LOW);
    } catch {
      // It has not started, or has ended: then nobody is to be spared.
    }
    child.on('error', () => {});
    child.on('close', (code, signal) => {
      if (this.#child !== child) return;
      this.#child = undefined;
      this.#report(code === 0 ? '' : reportOf(output, signal ?? `code ${code}`));
    });
  }

  /** Gives up what is being checked. */
  stop(): void {
    const child = this.#child;
    this.#child = undefined;
    if (child?.pid === undefined || child.exitCode !== null) return;
    try {
      process.kill(process.platform === 'win32' ? child.pid : -child.pid, 'SIGKILL');
    } catch {
      // It has just ended.
    }
  }

  #report(text: string): void {
    if (text === this.#said) return;
    this.#said = text;
    this.#say(text === '' ? 'no type errors any more' : text);
  }
}

/** @param end how the compiler ended, where it did not find the types in order */
function reportOf(output: string, end: string): string {
  const lines = output.trim().split('\n');
  const errors = lines.filter((line) => /\berror TS\d+:/.test(line)).length;
  const head =
    errors === 0
      ? `types were not checked: the compiler ended with ${end}`
      : `${errors} type error${errors === 1 ? '' : 's'}; the service goes on`;
  const more = lines.length > LINES_MAX ? [`… ${lines.length - LINES_MAX} lines more`] : [];
  return [head, ...lines.slice(0, LINES_MAX), ...more].join('\n').trimEnd();
}
