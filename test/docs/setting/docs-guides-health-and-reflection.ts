export { health } from '@millrace/health';
export { reflection } from '@millrace/reflection';
