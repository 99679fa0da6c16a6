import type { MethodDescriptor } from '../../service/descriptor.js';
import { usageError } from '../cli-error.js';
import type { Contract } from '../descriptors/contract.js';
import { didYouMean, nearNames } from '../near-names.js';

/** A method as it is named on the command line. */
export interface MethodName {
  readonly service: string;
  readonly method: string;
}

/** Reads `pkg.Service/Method`, `/pkg.Service/Method` or `pkg.Service.Method`. @throws CliError */
export function parseMethodName(text: string): MethodName {
  const match = /^\/?([A-Za-z_][\w.]*)[/.]([A-Za-z_]\w*)$/.exec(text);
  if (match === null) {
    throw usageError(
      `"${text}" is no name of a method.`,
      'Write it as package.Service/Method; millrace list shows all of a server.',
    );
  }
  return { service: match[1] as string, method: match[2] as string };
}

/** Looks a method up, with the types it needs. @throws CliError with near names */
export async function findMethod(
  contract: Contract,
  { service: name, method: wanted }: MethodName,
): Promise<MethodDescriptor> {
  const loaded = await contract.load(name);
  const service = loaded ? contract.service(name) : undefined;
  if (service === undefined) throw await noService(contract, name, wanted);
  const method = service.methods.find((one) => one.name === wanted);
  if (method !== undefined) return method;
  const names = service.methods.map((one) => one.name);
  const near = nearNames(wanted, names).map((one) => `${name}/${one}`);
  throw usageError(
    `${name} has no method ${wanted}.`,
    didYouMean(near) ?? `It has ${names.join(', ')}.`,
  );
}

/** The error for a service that does not exist. */
export async function noService(contract: Contract, name: string, method?: string) {
  const services = await contract.source.services();
  const short = (full: string) => full.slice(full.lastIndexOf('.') + 1);
  const suffix = method === undefined ? '' : `/${method}`;
  // A forgotten package is the likeliest mistake.
  const same = services.filter((full) => short(full) === short(name));
  const near = same.length > 0 ? same : nearNames(name, services);
  return usageError(
    `${contract.source.name} has no service ${name}.`,
    didYouMean(near.map((full) => full + suffix)) ??
      (services.length > 0 ? `It has ${services.join(', ')}.` : undefined),
  );
}
