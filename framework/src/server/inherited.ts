import { isMainThread } from 'node:worker_threads';
import { loadDescriptors } from '../bridge/native.js';
import type { Endpoint } from './endpoint.js';

/** The first one that is handed over (SD_LISTEN_FDS_START). */
const FIRST = 3;

/** Those that no server has, in order. */
let free: number[] | undefined;

/**
 * The next descriptor of those that the service manager handed to this process by the LISTEN_FDS
 * protocol (sd_listen_fds(3)); `undefined` where there is none. Reads the variables when it is first
 * called and removes them, so that processes which this one starts do not take them for theirs.
 */
export function takeInherited(): number | undefined {
  free ??= handedOver();
  return free.shift();
}

/**
 * Its server is closed: the next one may have it. It stays open, since the service manager has it listen
 * for this process, and a server on the same port could not be opened beside it.
 */
export function giveBackInherited(descriptor: number): void {
  free?.push(descriptor);
  free?.sort((one, other) => one - other);
}

function handedOver(): number[] {
  const { LISTEN_PID, LISTEN_FDS } = process.env;
  // Workers share the process, and its number, but the descriptors are those of the main thread.
  if (!isMainThread || LISTEN_PID !== String(process.pid)) return [];
  for (const name of ['LISTEN_PID', 'LISTEN_FDS', 'LISTEN_FDNAMES']) delete process.env[name];
  const number = Number(LISTEN_FDS);
  if (!Number.isInteger(number) || number <= 0) return [];
  return Array.from({ length: number }, (_, index) => FIRST + index);
}

/**
 * Where a descriptor listens.
 *
 * @throws Error with the code MILLRACE_DESCRIPTOR_INVALID for what is no listening stream socket
 */
export async function adopt(descriptor: number): Promise<Endpoint> {
  const address = (await loadDescriptors()).adoptListener(descriptor);
  if (address.startsWith('unix')) return { unix: address, mode: undefined, descriptor };
  const colon = address.lastIndexOf(':');
  const host = address.slice(0, colon).replace(/^\[(.*)\]$/, '$1');
  return { host, port: Number(address.slice(colon + 1)), descriptor };
}
