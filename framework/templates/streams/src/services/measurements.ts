import { Status, StatusError, service } from 'millrace';
import { z } from 'zod';
import { Measurements } from '../gen/measurements/v1/measurements.js';

/** What is not like this is answered with INVALID_ARGUMENT, naming the field. */
const simulateRequest = z.object({
  sensor: z.string().min(1),
  count: z.int().min(1).max(1_000_000),
});

/** Of each sensor the last value. With THREADS above 1 every thread has its own. */
const latest = new Map<string, number>();
const SENSORS_MAX = 10_000;

export const measurements = service(Measurements, {
  async latest({ sensor }) {
    const value = latest.get(sensor);
    if (value === undefined) {
      throw new StatusError(Status.NOT_FOUND, `There is no measurement of ${sensor}.`);
    }
    return { sensor, value };
  },

  // The sender gets its credit back as messages are taken from here: a slow loop slows it down.
  async record(requests) {
    let count = 0;
    for await (const { sensor, value } of requests) {
      if (!latest.has(sensor) && latest.size >= SENSORS_MAX) {
        throw new StatusError(Status.RESOURCE_EXHAUSTED, `More than ${SENSORS_MAX} sensors.`);
      }
      latest.set(sensor, value);
      count++;
    }
    return { count };
  },

  // Each `yield` waits while the reader is behind: nothing piles up.
  simulate: {
    input: simulateRequest,
    async *handler({ sensor, count }) {
      for (let i = 0; i < count; i++) yield { sensor, value: Math.sin(i / 10) };
    },
  },

  async *average(requests) {
    let count = 0;
    let sum = 0;
    for await (const { value } of requests) {
      count++;
      sum += value;
      yield { mean: sum / count };
    }
  },
});
