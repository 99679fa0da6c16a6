import { health } from '@millrace/health';
import { reflection } from '@millrace/reflection';

export const services = [health(), reflection()];
