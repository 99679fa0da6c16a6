import { MillraceError } from '../errors.js';
import { checkInterceptors } from '../interceptors/compose.js';
import type { Interceptor } from '../interceptors/interceptor.js';
import { type AttachedServices, isAttached } from '../service/attached.js';
import { isService, type Service } from '../service/service.js';
import { checkServices } from './options.js';

/** What a services module exports. */
export interface LoadedServices {
  readonly services: readonly (Service | AttachedServices)[];
  readonly interceptors: readonly Interceptor[];
}

/**
 * Loads a services module: every export that is a service or an array of services counts, each
 * service once; `interceptors` may be among the exports.
 *
 * @throws MillraceError MILLRACE_SERVICES_MODULE, MILLRACE_SERVICE_DUPLICATE,
 * MILLRACE_INTERCEPTOR_INVALID, and whatever the module throws
 */
export async function loadServices(url: string): Promise<LoadedServices> {
  const exported = (await import(url)) as Record<string, unknown>;
  const services = new Set<Service | AttachedServices>();
  for (const value of Object.values(exported)) {
    for (const candidate of Array.isArray(value) ? value : [value]) {
      if (isService(candidate) || isAttached(candidate)) services.add(candidate);
    }
  }
  if (services.size === 0) {
    throw new MillraceError('MILLRACE_SERVICES_MODULE', `${url} exports no service`);
  }
  const list = [...services];
  checkServices(list);
  const { interceptors } = exported;
  return {
    services: list,
    interceptors: checkInterceptors(Array.isArray(interceptors) ? interceptors : []),
  };
}
