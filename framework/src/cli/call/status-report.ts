import { findType, fromBinary } from '../../codec/index.js';
import type { StatusDetail } from '../../status/details.js';
import { Status } from '../../status/status.js';
import type { StatusError } from '../../status/status-error.js';
import { CliError, ExitCode } from '../cli-error.js';
import type { Contract } from '../descriptors/contract.js';
import { typeNameOf } from './any-types.js';
import { jsonOf } from './message-output.js';

/**
 * The end of a call that was not OK, for standard error: code, message, a line for each detail, and
 * what can be done where nobody was reached.
 *
 * @param target what was called
 */
export async function statusReport(
  error: StatusError,
  target: string,
  contract?: Contract,
): Promise<CliError> {
  const lines = [
    `${error.codeName} (${error.code})${error.message === '' ? '' : `: ${error.message}`}`,
  ];
  for (const detail of error.details) lines.push(`  ${await shown(detail, contract)}`);
  return new CliError(lines.join('\n'), {
    remedy: remedyOf(error, target),
    exitCode: ExitCode.STATUS + error.code,
    cause: error,
  });
}

function remedyOf({ code, message }: StatusError, target: string): string | undefined {
  if (code !== Status.UNAVAILABLE) return undefined;
  if (message.includes('does not resolve')) return 'Is the name spelled right?';
  if (!message.includes('cannot connect')) return undefined;
  return `Is the service running at ${target}? Start it (in its project: npm run dev), or name another address.`;
}

async function shown({ typeUrl, value }: StatusDetail, contract?: Contract): Promise<string> {
  const name = typeNameOf(typeUrl);
  try {
    if (findType(name) === undefined && (await contract?.load(name))) contract?.type(name);
    const type = findType(name);
    if (type !== undefined && contract !== undefined) {
      return `${name} ${JSON.stringify(await jsonOf(contract, type, fromBinary(type, value)))}`;
    }
  } catch {
    // Bytes that are no such message, or a type that cannot be asked for any more.
  }
  return `${name} (base64) ${Buffer.from(value).toString('base64')}`;
}
