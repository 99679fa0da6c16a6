// What /proc says of a process.

import { readdirSync, readFileSync } from 'node:fs';

/** Resident memory in bytes. */
export function residentBytes(pid: number): number {
  const line = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  if (line === null) throw new Error(`process ${pid} has no VmRSS`);
  return Number(line[1]) * 1024;
}

/** Open file descriptors. */
export function openDescriptors(pid: number): number {
  return readdirSync(`/proc/${pid}/fd`).length;
}

export const MIB = 1024 * 1024;

/** Processor time used so far, user and kernel, in milliseconds. */
export function processorMs(pid: number): number {
  // Fields 14 and 15, in ticks of 10 ms; the name in field 2 may hold spaces.
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * 10;
}
