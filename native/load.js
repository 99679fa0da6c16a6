// Finds the native module: the prebuilt package of this platform or, in a clone, the local build.

import { createRequire } from 'node:module';
import { fileURLToPath } from 'node:url';
import { currentTarget } from './target.js';

const require = createRequire(import.meta.url);
const target = currentTarget();
const packageName = `@millrace/native-${target}`;
const file = fileURLToPath(new URL(`./millrace.${target}.node`, import.meta.url));

/** @type {typeof import('./binding.js') | undefined} */
let binding;

/**
 * The native module, loaded when it is asked for first.
 *
 * @returns {typeof import('./binding.js')}
 */
export function load() {
  binding ??= find();
  return binding;
}

/** @returns {typeof import('./binding.js')} */
function find() {
  const causes = [];
  for (const name of [packageName, file]) {
    try {
      return require(name);
    } catch (cause) {
      causes.push(cause);
    }
  }
  const [ofPackage, ofFile] = causes.map(firstLine);
  throw Object.assign(
    new Error(
      `The native core of Millrace does not load on ${target}.\n` +
        `  package ${packageName}: ${ofPackage}\n` +
        `  file ${file}: ${ofFile}\n` +
        'In a clone, build it: npm run build -w native. In an installed project, install again ' +
        'on this platform, with optional dependencies allowed: npm install.',
      { cause: new AggregateError(causes) },
    ),
    { code: 'MILLRACE_NATIVE_NOT_LOADED' },
  );
}

/** @param {unknown} cause */
function firstLine(cause) {
  return cause instanceof Error ? cause.message.split('\n', 1)[0] : String(cause);
}
