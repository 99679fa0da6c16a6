export { echo } from './common.js';
