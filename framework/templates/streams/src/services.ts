import { health } from '@millrace/health';
import { reflection } from '@millrace/reflection';
import { measurements } from './services/measurements.js';

export const services = [measurements, health(), reflection()];
