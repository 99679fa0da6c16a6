// `npm run test:kernel`: the tests of the ring crate and the end-to-end suite on another kernel, not
// only on a driver that was forced: Debian's, 6.1 on Debian 12 and 6.12 on Debian 13.
//
//   npm run test:kernel                                    drivers ring, classic and portable
//   npm run test:kernel -- --driver ring --files e2e/echo  one driver, some files
//   npm run test:kernel -- --package linux-image-6.12.…    another kernel that apt knows
//   npm run test:kernel -- --crate                         the ring crate's tests only
//   npm run test:kernel -- --machine uml                   this machine, not the first that works
//   npm run test:kernel -- --minutes 30                    the machine is stopped after that
//
// There are three machines. `kvm`: linux-image in QEMU. `uml`, where KVM is missing or boots no
// ordinary kernel: user-mode-linux, the same source as a program, on one processor, which runs user
// code at full speed and system calls slowly. `tcg`, for what the others cannot boot: linux-image in
// QEMU, emulated; enough for the crate's tests, very slow for the rest. On the last two, the limits
// after which tests give up are longer, so that these tell right from wrong and not fast from slow.
//
// The guest sees this machine's whole file system read-only (9P, hostfs) and writes into its own
// memory (overlayfs), so that Node, the checkout and what was built are there, and nothing here
// changes. Without what it takes it is skipped, aloud, with code 0.

import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  statfsSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setup } from './setup.mjs';
import { ask, bold, Failure, main, must, root, say, seconds } from './steps.mjs';

/** Drivers that a kernel older than 6.10 has. */
const DRIVERS = ['ring', 'classic', 'portable'];
/** What mounts the file system, in the order in which one needs the other; not each kernel has all. */
const MODULES = [
  ...['virtio', 'virtio_ring', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'],
  ...['netfs', 'fscache', '9pnet', '9pnet_virtio', '9p', 'overlay'],
];
/** The first line of the guest, behind what the firmware leaves; with KVM it comes within seconds. */
const UP = /millrace: up/;
const BOOT_MS = 30_000;
/** Memory of the guest. */
const GIBIBYTES = 6;
const SHARED_MEMORY = '/dev/shm';
/** The last line of the guest, with the code of what ran. */
const ENDED = /^millrace: the tests ended with code (\d+)\r?$/m;

/**
 * What a machine boots.
 *
 * @typedef {object} Kernel
 * @property {string} name its package
 * @property {string} image
 * @property {string} modules the folder of its modules
 */

/**
 * A machine, best first: how many times longer than usual tests wait on it before they give up, how
 * long it may take to its first line, and what is to be started.
 *
 * @typedef {object} Machine
 * @property {string} name
 * @property {number} patience
 * @property {number} [bootMs] none: as long as all of it
 * @property {(wanted: string | undefined) => Promise<Kernel | undefined>} kernel none if it has none
 * @property {(kernel: Kernel, files: string) => { command: string, words: string[] }} start
 */

/** @type {readonly Machine[]} */
const MACHINES = [
  {
    name: 'kvm',
    patience: 1,
    bootMs: BOOT_MS,
    kernel: async (wanted) => (existsSync('/dev/kvm') ? linuxImage(wanted) : undefined),
    // QEMU 7 stumbles over a host whose capabilities it cannot set.
    start: (kernel, files) => qemu(['kvm', '-cpu', 'host,arch-capabilities=off'], kernel, files),
  },
  {
    name: 'uml',
    patience: 10,
    // It ends by itself where it cannot run; a machine with other work may keep it waiting.
    bootMs: 4 * BOOT_MS,
    kernel: async (wanted) => (wanted === undefined ? userModeLinux() : undefined),
    start: ({ image }, files) => ({
      command: image,
      words: [`mem=${GIBIBYTES}G`, `initrd=${files}`, 'con=null', 'con0=fd:0,fd:1', ...QUIET],
    }),
  },
  {
    name: 'tcg',
    patience: 30,
    kernel: linuxImage,
    start: (kernel, files) => qemu(['tcg,thread=multi', '-cpu', 'max'], kernel, files),
  },
];
const QUIET = ['quiet', 'panic=-1'];

/**
 * @param {readonly string[]} accelerator
 * @param {Kernel} kernel
 * @param {string} files
 */
function qemu(accelerator, { image }, files) {
  return {
    command: 'qemu-system-x86_64',
    words: [
      ...['-accel', ...accelerator, '-smp', '2', '-m', `${GIBIBYTES}G`, '-no-reboot', '-nographic'],
      ...['-nic', 'none', '-kernel', image, '-initrd', files],
      ...['-append', ['console=ttyS0', ...QUIET].join(' ')],
      '-virtfs',
      'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
    ],
  };
}

/** Why this cannot run here, or undefined. */
async function obstacle() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'it takes Linux on x86-64';
  for (const [command, name] of [
    ['busybox', 'busybox-static'],
    ['dpkg-deb', 'dpkg'],
    ['apt-get', 'apt'],
  ]) {
    if (!(await isThere(String(command)))) {
      return `${command} is missing: apt-get install --no-install-recommends ${name}`;
    }
  }
  return undefined;
}

/** @param {string} command */
async function isThere(command) {
  return (await ask('sh', ['-c', `command -v ${command}`])) !== undefined;
}

/**
 * A package of apt's, unpacked and kept under native/target.
 *
 * @param {string} name
 */
async function unpacked(name) {
  const folder = join(root, 'native/target/kernel', name);
  if (!existsSync(join(folder, 'usr'))) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    // As root, apt-get would like a folder that its own user may write to; it warns and goes on.
    await must('apt-get', ['download', '-q', name], { cwd: folder });
    const packed = readdirSync(folder).find((file) => file.endsWith('.deb'));
    await must('dpkg-deb', ['-x', String(packed), '.'], { cwd: folder });
    rmSync(join(folder, String(packed)));
  }
  return folder;
}

/**
 * Debian's kernel for QEMU, if there is QEMU.
 *
 * @param {string | undefined} wanted
 * @returns {Promise<Kernel | undefined>}
 */
async function linuxImage(wanted) {
  if (!(await isThere('qemu-system-x86_64'))) {
    say('no QEMU: apt-get install --no-install-recommends qemu-system-x86');
    return undefined;
  }
  const depends = await ask('apt-cache', ['depends', 'linux-image-amd64']);
  const name = wanted ?? /Depends: (linux-image-\S+)/.exec(depends ?? '')?.[1];
  if (name === undefined) throw new Failure('apt knows no linux-image-amd64: run apt-get update.');
  const folder = await unpacked(name);
  const image = readdirSync(join(folder, 'boot')).find((file) => file.startsWith('vmlinuz-'));
  if (image === undefined) throw new Failure(`${name} has no kernel in it.`);
  const modules = ['lib', 'usr/lib']
    .map((library) => join(folder, library, 'modules', image.slice('vmlinuz-'.length)))
    .find(existsSync);
  return { name, image: join(folder, 'boot', image), modules: String(modules) };
}

/**
 * Debian's kernel as a program, if apt has it.
 *
 * @returns {Promise<Kernel | undefined>}
 */
async function userModeLinux() {
  const name = 'user-mode-linux';
  if (!/Candidate: \d/.test((await ask('apt-cache', ['policy', name])) ?? '')) {
    say(`apt has no ${name}, which would be much faster than emulation`);
    return undefined;
  }
  const folder = await unpacked(name);
  return { name, image: join(folder, 'usr/bin/linux.uml'), modules: join(folder, 'usr/lib/uml') };
}

/**
 * The first file system of the guest: busybox, modules, and what to do.
 *
 * @param {string} scratch
 * @param {string} modules
 * @param {string} job
 */
async function firstFiles(scratch, modules, job) {
  const files = join(scratch, 'files');
  for (const folder of ['bin', 'modules', 'proc', 'sys', 'dev', 'lower', 'upper', 'whole']) {
    mkdirSync(join(files, folder), { recursive: true });
  }
  const busybox = String(await ask('sh', ['-c', 'command -v busybox'])).trim();
  copyFileSync(busybox, join(files, 'bin/busybox'));
  const present = (await ask('find', [modules, '-name', '*.ko*']))?.split('\n') ?? [];
  for (const module of MODULES) {
    // One that is missing is part of the kernel itself, or it is not needed by this version.
    const file = present.find((path) => path.endsWith(`/${module}.ko`));
    if (file !== undefined) copyFileSync(file, join(files, 'modules', `${module}.ko`));
  }
  copyFileSync(join(root, 'scripts/kernel/init.sh'), join(files, 'init'));
  writeFileSync(join(files, 'modules/order'), `${MODULES.join('\n')}\n`);
  writeFileSync(join(files, 'job.sh'), job);
  await must('sh', [
    ...['-ec', 'cd "$1"; chmod +x init; find . | busybox cpio -o -H newc > "$2"', 'sh'],
    ...[files, join(scratch, 'files.cpio')],
  ]);
  return join(scratch, 'files.cpio');
}

/** The test binaries of the ring crate, built here. */
async function ringTests() {
  const build = [
    ...['test', '--manifest-path', 'native/Cargo.toml', '-p', 'millrace-ring', '--no-run'],
    ...['--features', '__fault'],
  ];
  await must('cargo', build);
  const text = (await ask('cargo', [...build, '--message-format=json'])) ?? '';
  return text
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line))
    .filter((message) => message.profile?.test === true && typeof message.executable === 'string')
    .map((message) => String(message.executable));
}

/**
 * Boots, shows what the guest says, and resolves with the code of its job; undefined when it did not
 * get as far as the first line in time.
 *
 * @param {{ command: string, words: string[] }} start
 * @param {string} scratch
 * @param {{ bootMs: number, totalMs: number }} limits
 * @returns {Promise<number | undefined>}
 */
function boot({ command, words }, scratch, { bootMs, totalMs }) {
  return new Promise((resolve, reject) => {
    // A group of its own: the processes of user-mode-linux's guest are processes here.
    const machine = spawn(command, words, {
      stdio: ['ignore', 'pipe', 'inherit'],
      detached: true,
      env: { ...process.env, HOME: scratch, TMPDIR: memoryFolder(scratch) },
    });
    let output = '';
    machine.stdout.on('data', (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    const stop = () => {
      try {
        process.kill(-Number(machine.pid), 'SIGKILL');
      } catch {
        // It has ended by itself.
      }
    };
    const booting = setTimeout(() => UP.test(output) || stop(), bootMs);
    const running = setTimeout(stop, totalMs);
    // Being in another group, it would survive the Ctrl-C that ends this.
    process.on('exit', stop);
    for (const signal of ['SIGINT', 'SIGTERM']) process.on(signal, () => process.exit(1));
    machine.on('error', reject);
    machine.on('close', () => {
      clearTimeout(booting);
      clearTimeout(running);
      const code = ENDED.exec(output)?.[1];
      if (code !== undefined) resolve(Number(code));
      else if (!UP.test(output)) resolve(undefined);
      else
        reject(new Failure(`The machine ended too early, or after ${totalMs / 60_000} minutes.`));
    });
  });
}

/**
 * Where user-mode-linux keeps its guest's memory, as a file: in memory, if as much may be had.
 *
 * @param {string} otherwise
 */
function memoryFolder(otherwise) {
  if (!existsSync(SHARED_MEMORY)) return otherwise;
  const { bavail, bsize } = statfsSync(SHARED_MEMORY);
  return bavail * bsize > GIBIBYTES * 2 ** 30 ? SHARED_MEMORY : otherwise;
}

await main(async () => {
  const { values } = parseArgs({
    options: {
      package: { type: 'string' },
      machine: { type: 'string' },
      driver: { type: 'string', multiple: true },
      files: { type: 'string', multiple: true },
      crate: { type: 'boolean', default: false },
      minutes: { type: 'string', default: '60' },
    },
  });
  const missing = await obstacle();
  if (missing !== undefined) return say(`SKIPPED: no test on another kernel: ${missing}`);
  const machines = MACHINES.filter(({ name }) => (values.machine ?? name) === name);
  if (machines.length === 0) {
    throw new Failure(`--machine is one of ${MACHINES.map(({ name }) => name).join(', ')}.`);
  }
  await setup();
  const drivers = values.crate ? [] : (values.driver ?? DRIVERS);
  const files = values.files ?? ['e2e'];
  const commands = (await ringTests()).map((binary) => `run '${binary}' --quiet`);
  for (const driver of drivers) {
    commands.push(`cd '${join(root, 'test')}'`);
    commands.push(`run npx vitest run --project ${driver} ${files.join(' ')}`);
  }
  const more = values.crate ? '' : `, then ${files.join(' ')} on ${drivers.join(', ')}`;
  const start = performance.now();
  const totalMs = Number(values.minutes) * 60_000;
  for (const machine of machines) {
    const kernel = await machine.kernel(values.package);
    if (kernel === undefined) continue;
    say(`\n${bold(`${kernel.name}, ${machine.name}`)}: the ring crate${more}`);
    const job = [
      `export PATH='${process.env['PATH']}' HOME=/root NO_COLOR=1 CI=1`,
      `export MILLRACE_TEST_PATIENCE=${machine.patience}`,
      'code=0',
      'run() { echo "+ $*"; "$@" || code=1; }',
      'uname -sr',
      `cd '${join(root, 'native/crates/ring')}'`,
      ...commands,
      'exit $code',
    ].join('\n');
    const scratch = mkdtempSync(join(tmpdir(), 'millrace-kernel-'));
    try {
      const first = await firstFiles(scratch, kernel.modules, job);
      const limits = { bootMs: machine.bootMs ?? totalMs, totalMs };
      const code = await boot(machine.start(kernel, first), scratch, limits);
      if (code === 0) {
        return say(`\nall passed on ${kernel.name}, in ${seconds(performance.now() - start)}`);
      }
      if (code !== undefined) throw new Failure(`Tests failed on ${kernel.name}; see above.`);
    } finally {
      rmSync(scratch, { recursive: true, force: true });
    }
    say(`\n${machine.name} does not boot ${kernel.name} here`);
  }
  say(`SKIPPED: no test on another kernel: none of ${machines.map(({ name }) => name)} runs here`);
});
