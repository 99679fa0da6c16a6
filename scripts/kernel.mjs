// `npm run test:kernel`: the tests of the ring crate and the end-to-end suite on another kernel, not
// only on a driver that was forced: Debian's linux-image in a virtual machine under QEMU.
//
//   npm run test:kernel                                    drivers ring, classic and portable
//   npm run test:kernel -- --driver ring --files e2e/echo  one driver, some files
//   npm run test:kernel -- --package linux-image-6.12.…    another kernel that apt knows
//   npm run test:kernel -- --crate                         the ring crate's tests only
//   npm run test:kernel -- --minutes 30                    the machine is stopped after that
//
// The guest sees this machine's whole file system through 9P and writes into its own memory
// (overlayfs), so that Node, the checkout and what was built are there, and nothing here changes.
// Without QEMU or what else it takes, it is skipped, aloud, with code 0. Where KVM is missing or boots
// no ordinary kernel, the machine is emulated, aloud: the crate's tests take minutes then, and the
// end-to-end suite runs into its limits of time.

import { spawn } from 'node:child_process';
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readdirSync,
  rmSync,
  writeFileSync,
} from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { setup } from './setup.mjs';
import { ask, bold, Failure, main, must, root, say, seconds } from './steps.mjs';

/** Drivers that a kernel older than 6.10 has. */
const DRIVERS = ['ring', 'classic', 'portable'];
/** What mounts the file system, in the order in which one needs the other. */
const MODULES = [
  ...['virtio', 'virtio_ring', 'virtio_pci_legacy_dev', 'virtio_pci_modern_dev', 'virtio_pci'],
  ...['netfs', 'fscache', '9pnet', '9pnet_virtio', '9p', 'overlay'],
];
/** The first line of the guest, behind what the firmware leaves; with KVM it comes within seconds. */
const UP = /millrace: up/;
const BOOT_MS = 30_000;
/** The last line of the guest, with the code of what ran. */
const ENDED = /^millrace: the tests ended with code (\d+)\r?$/m;

/** Why this cannot run here, or undefined. */
async function obstacle() {
  if (process.platform !== 'linux' || process.arch !== 'x64') return 'it takes Linux on x86-64';
  for (const [command, name] of [
    ['qemu-system-x86_64', 'qemu-system-x86'],
    ['busybox', 'busybox-static'],
    ['dpkg-deb', 'dpkg'],
    ['apt-get', 'apt'],
  ]) {
    if ((await ask('sh', ['-c', `command -v ${command}`])) === undefined) {
      return `${command} is missing: apt-get install --no-install-recommends ${name}`;
    }
  }
  return undefined;
}

/**
 * A kernel and its modules, unpacked and kept under native/target.
 *
 * @param {string | undefined} wanted
 */
async function kernel(wanted) {
  const depends = await ask('apt-cache', ['depends', 'linux-image-amd64']);
  const name = wanted ?? /Depends: (linux-image-\S+)/.exec(depends ?? '')?.[1];
  if (name === undefined) throw new Failure('apt knows no linux-image-amd64: run apt-get update.');
  const folder = join(root, 'native/target/kernel', name);
  if (!existsSync(join(folder, 'boot'))) {
    rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true });
    // As root, apt-get would like a folder that its own user may write to; it warns and goes on.
    await must('apt-get', ['download', '-q', name], { cwd: folder });
    const packed = readdirSync(folder).find((file) => file.endsWith('.deb'));
    await must('dpkg-deb', ['-x', String(packed), '.'], { cwd: folder });
    rmSync(join(folder, String(packed)));
  }
  const image = readdirSync(join(folder, 'boot')).find((file) => file.startsWith('vmlinuz-'));
  if (image === undefined) throw new Failure(`${name} has no kernel in it.`);
  const modules = ['lib', 'usr/lib']
    .map((library) => join(folder, library, 'modules', image.slice('vmlinuz-'.length)))
    .find(existsSync);
  return { name, image: join(folder, 'boot', image), modules: String(modules) };
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
 * @param {readonly string[]} accelerator
 * @param {string} image
 * @param {string} files
 * @param {{ bootMs: number, totalMs: number }} limits
 * @returns {Promise<number | undefined>}
 */
function boot(accelerator, image, files, { bootMs, totalMs }) {
  return new Promise((resolve, reject) => {
    const machine = spawn(
      'qemu-system-x86_64',
      [
        ...[...accelerator, '-smp', '2', '-m', '6G', '-no-reboot', '-nographic'],
        ...['-nic', 'none', '-kernel', image, '-initrd', files],
        ...['-append', 'console=ttyS0 quiet panic=-1'],
        '-virtfs',
        'local,path=/,mount_tag=host,security_model=none,readonly=on,multidevs=remap',
      ],
      { stdio: ['ignore', 'pipe', 'inherit'] },
    );
    let output = '';
    machine.stdout.on('data', (chunk) => {
      output += chunk;
      process.stdout.write(chunk);
    });
    const stop = () => machine.kill('SIGKILL');
    const booting = setTimeout(() => UP.test(output) || stop(), bootMs);
    const running = setTimeout(stop, totalMs);
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

await main(async () => {
  const { values } = parseArgs({
    options: {
      package: { type: 'string' },
      driver: { type: 'string', multiple: true },
      files: { type: 'string', multiple: true },
      crate: { type: 'boolean', default: false },
      minutes: { type: 'string', default: '60' },
    },
  });
  const missing = await obstacle();
  if (missing !== undefined) return say(`SKIPPED: no test on another kernel: ${missing}`);
  await setup();
  const { name, image, modules } = await kernel(values.package);
  const drivers = values.crate ? [] : (values.driver ?? DRIVERS);
  const files = values.files ?? ['e2e'];
  const commands = (await ringTests()).map((binary) => `run '${binary}' --quiet`);
  for (const driver of drivers) {
    commands.push(`cd '${join(root, 'test')}'`);
    commands.push(`run npx vitest run --project ${driver} ${files.join(' ')}`);
  }
  const job = [
    `export PATH='${process.env['PATH']}' HOME=/root NO_COLOR=1 CI=1`,
    'code=0',
    'run() { echo "+ $*"; "$@" || code=1; }',
    'uname -sr',
    `cd '${join(root, 'native/crates/ring')}'`,
    ...commands,
    'exit $code',
  ].join('\n');

  const more = values.crate ? '' : `, then ${files.join(' ')} on ${drivers.join(', ')}`;
  say(`\n${bold(name)}: the ring crate${more}`);
  const start = performance.now();
  const scratch = mkdtempSync(join(tmpdir(), 'millrace-kernel-'));
  try {
    const first = await firstFiles(scratch, modules, job);
    const totalMs = Number(values.minutes) * 60_000;
    // QEMU 7 stumbles over a host whose capabilities it cannot set.
    const kvm = ['-accel', 'kvm', '-cpu', 'host,arch-capabilities=off'];
    let code = await boot(kvm, image, first, { bootMs: BOOT_MS, totalMs });
    if (code === undefined) {
      say(
        '\nNO KVM here that boots this kernel: the machine is emulated, which is many times slower',
      );
      const emulated = ['-accel', 'tcg,thread=multi', '-cpu', 'max'];
      code = await boot(emulated, image, first, { bootMs: totalMs, totalMs });
    }
    if (code === undefined) throw new Failure(`${name} did not boot; see above.`);
    if (code !== 0) throw new Failure(`Tests failed on ${name}; see above.`);
    say(`\nall passed on ${name}, in ${seconds(performance.now() - start)}`);
  } finally {
    rmSync(scratch, { recursive: true, force: true });
  }
});
