export { type Health, health, type ServingStatus } from './health.js';
