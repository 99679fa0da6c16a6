// What the environment says, checked once. `.env` fills in what it leaves out.

import { existsSync } from 'node:fs';
import { z } from 'zod';

if (existsSync('.env')) process.loadEnvFile('.env');

const schema = z.object({
  HOST: z.string().min(1).default('127.0.0.1'),
  PORT: z.coerce.number().int().min(0).max(65_535).default(50_051),
  THREADS: z.coerce.number().int().min(1).max(256).default(1),
});

const { data, error } = schema.safeParse(process.env);
if (error) {
  console.error(`The environment cannot be used:\n${z.prettifyError(error)}`);
  process.exit(1);
}

export const settings = { host: data.HOST, port: data.PORT, threads: data.THREADS };
