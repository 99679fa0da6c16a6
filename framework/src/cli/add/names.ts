import { methodName, identifier as moduleName } from '../generate/names.js';

/** The names that a service has in its project. */
export interface ServiceNames {
  /** In the .proto file: `OrderItems`. */
  readonly proto: string;
  /** Of its descriptor in the generated module. */
  readonly descriptor: string;
  /** Of the constant that `service(…)` makes: `orderItems`. */
  readonly constant: string;
  /** Of files: `order-items`. */
  readonly file: string;
  /** Of .proto files and packages: `order_items`. */
  readonly snake: string;
}

/** What the modules of handlers and tests use themselves. */
const TAKEN = new Set(
  'service services startTest expect test t reply replies texts text request requests'.split(' '),
);

/** The names of a service that is called `OrderItems`, `orderItems`, `order-items` or `order_items`. */
export function namesOfService(given: string): ServiceNames {
  const words = wordsOf(given);
  // A name that has capitals is right as it is: HTTPProxy.
  const proto = /^[A-Z]\w*$/.test(given) ? given : pascal(words);
  const camel = methodName(proto);
  return {
    proto,
    descriptor: moduleName(proto),
    constant: TAKEN.has(camel) || moduleName(camel) !== camel ? `${camel}Service` : camel,
    file: words.join('-'),
    snake: words.join('_'),
  };
}

/** `list-all` and `listAll` become `ListAll`. */
export function protoMethodName(given: string): string {
  return /^[A-Z]\w*$/.test(given) ? given : pascal(wordsOf(given));
}

/** `ListAll` becomes `list-all`. */
export function fileNameOf(given: string): string {
  return wordsOf(given).join('-');
}

function wordsOf(name: string): string[] {
  return name
    .replace(/([a-z0-9])([A-Z])/g, '$1-$2')
    .replace(/([A-Z]+)([A-Z][a-z])/g, '$1-$2')
    .split(/[-_]+/)
    .filter((word) => word !== '')
    .map((word) => word.toLowerCase());
}

function pascal(words: readonly string[]): string {
  return words.map((word) => (word[0] ?? '').toUpperCase() + word.slice(1)).join('');
}
