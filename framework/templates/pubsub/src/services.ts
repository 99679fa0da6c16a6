import { health } from '@millrace/health';
import { reflection } from '@millrace/reflection';
import { events } from './services/events.js';
import { pricesService } from './services/prices.js';

export const services = [pricesService, events, health(), reflection()];
