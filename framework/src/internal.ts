/**
 * For the packages of this project alone: outside of semantic versioning.
 */
export { errorTable } from './errors.js';
export { limitTable } from './limits.js';
