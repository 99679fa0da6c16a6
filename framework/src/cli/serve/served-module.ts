/**
 * The module that each thread of `millrace serve` loads where services are to be added to those of
 * the user's: its address says which, `?entry=…&attach=…`.
 */
import { loadServices } from '../../server/services-module.js';
import type { AttachedServices } from '../../service/attached.js';
import type { Service } from '../../service/service.js';

type Attachable = Record<string, () => Service | AttachedServices>;

const asked = new URL(import.meta.url).searchParams;
const loaded = await loadServices(asked.get('entry')!);
const attached: (Service | AttachedServices)[] = [];
for (const [name, url] of asked) {
  if (name !== 'entry') attached.push(((await import(url)) as Attachable)[name]!());
}

export const { interceptors } = loaded;
export const services = [...loaded.services, ...attached];
