/**
 * Resolves at the first SIGINT or SIGTERM; from the call on these do not end the process.
 *
 * @param first called at the first signal, before it resolves
 * @param again called at the second one; without it that ends the process
 */
export function untilSignal(first = () => {}, again?: () => void): Promise<void> {
  return new Promise((resolve) => {
    let told = false;
    const heard = (): void => {
      if (told) {
        again?.();
        return;
      }
      told = true;
      if (again === undefined) for (const name of SIGNALS) process.off(name, heard);
      first();
      resolve();
    };
    for (const name of SIGNALS) process.on(name, heard);
  });
}

const SIGNALS = ['SIGINT', 'SIGTERM'] as const;
