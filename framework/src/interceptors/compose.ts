import { MillraceError } from '../errors.js';
import type { InterceptedCall, Interceptor, Next } from './interceptor.js';

/** @throws MillraceError MILLRACE_INTERCEPTOR_INVALID if one of them is no function. */
export function checkInterceptors(interceptors: readonly unknown[]): readonly Interceptor[] {
  interceptors.forEach((interceptor, index) => {
    if (typeof interceptor !== 'function') {
      throw new MillraceError(
        'MILLRACE_INTERCEPTOR_INVALID',
        `interceptors[${index}] is ${interceptor === null ? 'null' : typeof interceptor}, not a function`,
      );
    }
  });
  return interceptors as readonly Interceptor[];
}

/** Interceptors around a handler, the first outermost. */
export function compose(interceptors: readonly Interceptor[], handler: Next): Next {
  return interceptors.reduceRight<Next>(
    (next, interceptor) => (call) => interceptor(call, once(next)),
    handler,
  );
}

/** A request stream can be read once only, so a second `next()` is a mistake worth an error. */
function once(next: Next): Next {
  let called = false;
  return async (call: InterceptedCall) => {
    if (called) throw new MillraceError('MILLRACE_INTERCEPTOR_NEXT_TWICE');
    called = true;
    return next(call);
  };
}
