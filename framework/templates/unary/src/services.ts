import { health } from '@millrace/health';
import { reflection } from '@millrace/reflection';
import { greeter } from './services/greeter.js';

export const services = [greeter, health(), reflection()];
