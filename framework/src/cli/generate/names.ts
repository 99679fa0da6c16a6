import { lowerCamel } from '../../codec/field.js';

/** What a module-level name must not be: TypeScript's own words and the globals generated code uses. */
const RESERVED = new Set(
  (
    'abstract any arguments as asserts async await bigint boolean break case catch class const ' +
    'constructor continue debugger declare default delete do else enum eval export extends false ' +
    'finally for from function get global globalThis if implements import in infer instanceof ' +
    'interface is keyof let module namespace never new null number object of package private ' +
    'protected public readonly require return set static string super switch symbol this throw ' +
    'true try type typeof undefined unique unknown using var void while with yield ' +
    'Array Map Object Readonly ReadonlyMap Record Uint8Array Infinity NaN codec'
  ).split(' '),
);

/** Members that every object has; a property of that name would be found where none was given. */
const INHERITED = new Set(Object.getOwnPropertyNames(Object.prototype));

/** Names that the bodies of generated functions use. */
const LOCALS = new Set(
  'message writer reader length tag outer error mark nested packed entry inner key value item'.split(
    ' ',
  ),
);

/** A name for a module-level declaration: a `$` is put behind one that is taken by the language. */
export function identifier(name: string): string {
  return RESERVED.has(name) || LOCALS.has(name) ? `${name}$` : name;
}

/** The property of a message: lowerCamel, with a `$` behind one that every object has anyway. */
export function propertyName(name: string): string {
  const camel = lowerCamel(name);
  if (INHERITED.has(camel)) return `${camel}$`;
  return /^[A-Za-z_$]/.test(camel) ? camel : `_${camel}`;
}

/** The variable that holds the property inside a generated function. */
export function localName(property: string, taken: ReadonlySet<string>): string {
  let local = property;
  while (RESERVED.has(local) || LOCALS.has(local) || taken.has(local)) local += '$';
  return local;
}

/** `SayHello` and `say_hello` become `sayHello`, `HTTPGet` becomes `httpGet`. */
export function methodName(name: string): string {
  const camel = lowerCamel(name);
  const property = camel.replace(/^[A-Z]+(?![a-z])|^[A-Z]/, (head) => head.toLowerCase());
  // A client with a method `then` would be taken for a promise.
  return INHERITED.has(property) || property === 'then' ? `${property}$` : property;
}
