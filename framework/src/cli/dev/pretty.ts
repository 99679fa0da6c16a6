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
  const clock = new Date(time).toTimeString().slice(0, 8);
  const milliseconds = String(time % 1000).padStart(3, '0');
  const shown = coloured ? styleText(colour, name.padEnd(5)) : name.padEnd(5);
  const pairs = Object.entries(rest).map(([key, value]) => ` ${key}=${text(value)}`);
  const stack = (err as { readonly stack?: unknown } | undefined)?.stack;
  const trace = typeof stack === 'string' ? `\n${stack.replaceAll(/^/gm, '  ')}` : '';
  return `${clock}.${milliseconds} ${shown} ${String(msg ?? '')}${pairs.join('')}${trace}`;
}

function text(value: unknown): string {
  return typeof value === 'string' && !/[\s"=]/.test(value) ? value : JSON.stringify(value);
}
