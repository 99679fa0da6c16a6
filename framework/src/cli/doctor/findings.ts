import type { DriverFact, Facts, FeatureFact, PortFact } from './facts.js';

/** `warn`: it runs, but not as well as it could. `fail`: it does not run. */
export type Level = 'ok' | 'warn' | 'fail';

export interface Finding {
  readonly check: string;
  readonly level: Level;
  readonly message: string;
  /** What to do about it. */
  readonly remedy?: string;
}

/** What the facts mean for a server, and what to do about them. */
export function findings(facts: Facts, portAsked: boolean): Finding[] {
  const list = [node(facts), kernel(facts), native(facts)];
  if (facts.driver !== undefined) list.push(driver(facts, facts.driver));
  if (facts.platform === 'linux') {
    if (facts.features !== undefined) list.push(features(facts.features));
    list.push(sysctl(facts), seccomp(facts), memlock(facts));
  }
  list.push(openFiles(facts));
  if (facts.backlog !== undefined) list.push(backlog(facts.backlog));
  list.push(port(facts.port, portAsked));
  return list;
}

const ok = (check: string, message: string): Finding => ({ check, level: 'ok', message });
const warn = (check: string, message: string, remedy: string): Finding => {
  return { check, level: 'warn', message, remedy };
};
const fail = (check: string, message: string, remedy: string): Finding => {
  return { check, level: 'fail', message, remedy };
};

function node({ node: version }: Facts): Finding {
  const [major = 0, minor = 0] = version.split('.').map(Number);
  if (major > 20 || (major === 20 && minor >= 19)) return ok('node', version);
  return fail(
    'node',
    `${version} is too old: Millrace needs 20.19`,
    'Install a current version from https://nodejs.org.',
  );
}

function kernel({ platform, arch, release }: Facts): Finding {
  if (platform === 'linux') return ok('kernel', `Linux ${release} on ${arch}`);
  return warn(
    'kernel',
    `${platform} ${release} on ${arch}: io_uring exists on Linux only`,
    'For production choose Linux 6.12.36 or newer; for development this will do.',
  );
}

function native({ native: found }: Facts): Finding {
  if ('file' in found) return ok('native', found.file);
  const [first = '', ...rest] = found.failure.split('\n');
  return fail('native', first, rest.map((line) => line.trim()).join('\n'));
}

function driver({ driverAsked, platform }: Facts, found: DriverFact): Finding {
  const forced = driverAsked === 'auto' ? '' : ` (MILLRACE_DRIVER=${driverAsked})`;
  if ('failure' in found) {
    return fail(
      'driver',
      `${found.failure}${forced}`,
      driverAsked === 'auto'
        ? 'See the findings below.'
        : 'Take MILLRACE_DRIVER out of the environment: the best driver that runs is then used.',
    );
  }
  const text = `${found.reason}${forced}`;
  const best = found.name === 'bundle' || platform !== 'linux';
  if (best || (found.name !== 'portable' && driverAsked !== 'auto')) return ok('driver', text);
  if (found.name !== 'portable') {
    return warn('driver', text, 'All works, but what is named here would make it faster.');
  }
  return warn(
    'driver',
    text,
    driverAsked === 'portable'
      ? 'Take MILLRACE_DRIVER out of the environment to use io_uring where it can be used.'
      : 'All works, but io_uring would be faster: what forbids it is named here and below.',
  );
}

/** What of the kernel's io_uring can be used, by the drivers that need it. */
function features(found: readonly FeatureFact[]): Finding {
  const works = found.filter(({ failure }) => failure === undefined);
  const lacks = found.filter(({ failure }) => failure !== undefined);
  const names = works.map(({ driver: name }) => name).join(', ');
  const reasons = lacks.map(({ failure }) => `; ${failure}`).join('');
  if (works.length > 0) return ok('features', `io_uring has what is needed for ${names}${reasons}`);
  return warn(
    'features',
    `io_uring cannot be used${reasons}`,
    'It takes Linux 5.7, or better 6.12.36 or newer, and nothing that forbids it: see below.',
  );
}

/** Whether io_uring is used; unknown is no. */
function usesIoUring({ driver: found }: Facts): boolean {
  return found !== undefined && 'name' in found && found.name !== 'portable';
}

/** https://docs.kernel.org/admin-guide/sysctl/kernel.html#io-uring-disabled */
function sysctl(facts: Facts): Finding {
  const { ioUringDisabled: value } = facts;
  const remedy =
    'sysctl -w kernel.io_uring_disabled=0, and the same in /etc/sysctl.d/ so that it stays. In a container it is the host that decides.';
  switch (value) {
    case undefined:
      return ok('io_uring', 'this kernel has no switch for it');
    case 0:
      return ok('io_uring', 'allowed for every process (kernel.io_uring_disabled is 0)');
    case 1:
      if (usesIoUring(facts)) {
        return ok('io_uring', 'allowed for this user (kernel.io_uring_disabled is 1)');
      }
      return warn(
        'io_uring',
        'kernel.io_uring_disabled is 1: only for CAP_SYS_ADMIN and the group kernel.io_uring_group',
        `Add this user to that group, or: ${remedy}`,
      );
    default:
      return warn('io_uring', `kernel.io_uring_disabled is ${value}: forbidden for all`, remedy);
  }
}

function seccomp(facts: Facts): Finding {
  if (facts.seccomp === undefined || facts.seccomp === 0) {
    return ok('seccomp', 'no filter on system calls');
  }
  if (usesIoUring(facts)) return ok('seccomp', 'a filter that lets io_uring pass');
  if (facts.driverAsked === 'portable') {
    return ok('seccomp', 'a filter; whether it lets io_uring pass was not tried');
  }
  return warn(
    'seccomp',
    'a filter on system calls is in force, as in most containers, and it may be what forbids io_uring',
    'Allow io_uring_setup, io_uring_enter and io_uring_register in the profile: docker run --security-opt seccomp=profile.json, or securityContext.seccompProfile in Kubernetes.',
  );
}

const MiB = 1024 * 1024;
/** What a thread's ring takes with the defaults, in case its kernel counts it. */
const MEMLOCK_BYTES = 8 * MiB;

function memlock(facts: Facts): Finding {
  const { memlockBytes: bytes } = facts;
  if (bytes === undefined) return ok('memlock', 'unknown');
  const text = Number.isFinite(bytes) ? `${Math.floor(bytes / 1024)} KiB` : 'no limit';
  if (usesIoUring(facts) || bytes >= MEMLOCK_BYTES) return ok('memlock', text);
  return warn(
    'memlock',
    `${text} of memory may be locked, which some kernels count io_uring's rings against`,
    'Raise it: ulimit -l unlimited, LimitMEMLOCK=infinity in a systemd unit, --ulimit memlock=-1 for docker run.',
  );
}

/** Beside connections a server needs a few dozen. */
const OPEN_FILES_LEAST = 128;
const OPEN_FILES_GOOD = 4096;

function openFiles({ openFiles: limit }: Facts): Finding {
  if (limit === undefined) return ok('open files', 'unknown');
  if (!Number.isFinite(limit)) return ok('open files', 'no limit');
  const text = `${limit.toLocaleString('en')}, one for each connection`;
  if (limit >= OPEN_FILES_GOOD) return ok('open files', text);
  const remedy =
    'Raise it: ulimit -n 65536, LimitNOFILE=65536 in a systemd unit, --ulimit nofile=65536 for docker run.';
  return limit < OPEN_FILES_LEAST
    ? fail('open files', text, remedy)
    : warn('open files', text, remedy);
}

/** The default of `serve({ backlog })`. */
const BACKLOG = 4096;

function backlog(value: number): Finding {
  const text = `${value.toLocaleString('en')} connections may wait to be accepted`;
  if (value >= BACKLOG) return ok('backlog', text);
  return warn(
    'backlog',
    `${text}; serve() asks for ${BACKLOG.toLocaleString('en')}`,
    `sysctl -w net.core.somaxconn=${BACKLOG}, if many clients connect at once.`,
  );
}

function port({ host, port: number, failure }: PortFact, asked: boolean): Finding {
  const shown = host.includes(':') ? `[${host}]:${number}` : `${host}:${number}`;
  if (failure === undefined) return ok('port', `${shown} is free`);
  const bad = asked ? fail : warn;
  switch (failure) {
    case 'EADDRINUSE':
      return bad(
        'port',
        `${shown} is taken`,
        `Find out by whom: ss -ltnp 'sport = :${number}'; end that, or serve on another port.`,
      );
    case 'EACCES':
      return bad(
        'port',
        `${shown} needs a privilege`,
        'Serve on a port from 1024 on, or lower the sysctl net.ipv4.ip_unprivileged_port_start.',
      );
    case 'EADDRNOTAVAIL':
    case 'ENOTFOUND':
      return bad('port', `${host} is no address of this machine (${failure})`, 'Give --host.');
    default:
      return bad('port', `${shown} cannot be listened on: ${failure}`, 'Give --host and --port.');
  }
}
