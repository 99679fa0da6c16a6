/** The native module, loaded when it is asked for first. */
export function load(): typeof import('./binding.js');
