import { styleText } from 'node:util';

const LEVELS: Readonly<Record<number, readonly [string, 'gray' | 'green' | 'yellow' | 'red']>> = {
  10: ['trace', 'gray'],
  20: ['debug', 'gray'],
  30: ['info', 'green'],
  40: ['warn', 'yellow'],
  50: ['error', 'red'],
  60: ['fatal', 'red'],
};

/** A line of a JSON log for people: `12:34:56.789 info  listening port=50051`; others as they are. */
export function pretty(line: string, coloured: boolean): string {
  let fields: Record<string, unknown>;
  try {
    fields = JSON.parse(line) as Record<string, unknown>;
  } catch {
    return line;
  }
  const { level, time, msg, err, pid: _pid, hostname: _hostname, ...rest } = fields ?? {};
  const named = LEVELS[level as number];
  if (named === undefined || typeof time !== 'number') return line;
  const [name, colour] = named;
  const pairs = Object.entries(rest).map(([key, value]) => ` ${key}=${text(value)}`);
  const stack = (err as { readonly stack?: unknown } | undefined)?.stack;
  const trace = typeof stack === 'string' ? `\n${stack.replaceAll(/^/gm, '  ')}` : '';
  const shown = label(name, coloured ? colour : undefined);
  return `${clock(time)} ${shown} ${String(msg ?? '')}${pairs.join('')}${trace}`;
}

/** A line of our own that looks like those of the log. */
export function stamped(name: string, line: string, coloured: boolean): string {
  return `${clock(Date.now())} ${label(name, coloured ? 'cyan' : undefined)} ${line}`;
}

function label(name: string, colour: Parameters<typeof styleText>[0] | undefined): string {
  const padded = name.padEnd(5);
  // Whether there are colours has been decided.
  return colour === undefined ? padded : styleText(colour, padded, { validateStream: false });
}

function clock(time: number): string {
  return `${new Date(time).toTimeString().slice(0, 8)}.${String(time % 1000).padStart(3, '0')}`;
}

function text(value: unknown): string {
  return typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value);
}
