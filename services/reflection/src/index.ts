export { type ReflectionOptions, reflection } from './reflection.js';
