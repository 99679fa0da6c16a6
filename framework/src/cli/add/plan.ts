import { existsSync, readdirSync, readFileSync } from 'node:fs';
import { dirname, posix, relative, resolve, sep } from 'node:path';
import { CliError } from '../cli-error.js';
import type { LoadedConfig } from '../config/load-config.js';
import { type GeneratedFile, generate, outdated } from '../generate/generate.js';
import { readSources } from '../generate/sources.js';
import { write } from '../generate/write.js';
import type { Outline, ServiceNode } from '../proto/outline.js';
import type { ProtoSource } from '../proto/source.js';
import { addToProto, topLevelNames } from './edit-proto.js';
import { addHandler, addToServices, makesService } from './edit-typescript.js';
import { fileNameOf, namesOfService, type ServiceNames } from './names.js';
import {
  handlerLines,
  type Kind,
  messageDeclarations,
  type NewMethod,
  rpcStatement,
  serviceDeclarations,
  serviceModule,
  servicesModule,
  testModule,
} from './stubs.js';

/** What an addition does to a project; nothing of it is done yet. */
export interface Plan {
  /** Paths are relative to the working directory, with slashes. */
  readonly files: readonly PlannedFile[];
  /** What could not be edited for sure, with the lines to add by hand. */
  readonly manual: readonly { readonly path: string; readonly lines: readonly string[] }[];
}

interface PlannedFile extends GeneratedFile {
  readonly change: 'created' | 'changed';
}

/** Does it: all of it, or nothing. */
export function carryOut({ files }: Plan): void {
  write(files, '.', resolve());
}

/** Where things are in a project, relative to the working directory, with slashes. */
interface Layout {
  readonly protos: string;
  readonly generated: string;
  readonly services: string;
  readonly registry: string;
  readonly tests: string;
}

function layoutOf({ protos: [first = 'protos'], out, entry }: LoadedConfig): Layout {
  if (first.endsWith('.proto')) {
    throw new CliError(`protos of the configuration names a file, ${first}`, {
      remedy: 'Name the folder in which it lies, so that there is a place for more.',
    });
  }
  const source = slashes(dirname(entry));
  return {
    protos: slashes(first),
    generated: slashes(out),
    services: posix.join(source, 'services'),
    registry: posix.join(source, 'services.ts'),
    tests: posix.join(posix.dirname(source), 'test'),
  };
}

/** Plans a new service with its first method. */
export function planService(
  config: LoadedConfig,
  name: string,
  method: { readonly name: string; readonly kind: Kind },
): Plan {
  const layout = layoutOf(config);
  const dot = name.lastIndexOf('.');
  const service = namesOfService(name.slice(dot + 1));
  const packageName = dot < 0 ? `${service.snake}.v1` : name.slice(0, dot);
  const folder = posix.join(layout.protos, ...packageName.split('.'));
  const path = posix.join(folder, `${service.snake}.proto`);
  const plan = new Planner(config, layout);
  const inPackage = readProject(config).filter(
    ({ outline }) => outline.packageName === packageName,
  );
  const taken = new Set(inPackage.flatMap(({ outline }) => topLevelNames(outline)));
  if (taken.has(service.proto)) {
    const { file } = inPackage.find(({ outline }) =>
      topLevelNames(outline).includes(service.proto),
    ) as ProtoSource;
    throw new CliError(`${packageName}.${service.proto} is declared already, in ${file}`, {
      remedy: `Choose another name, or add to it: millrace add method ${service.proto}.NAME`,
    });
  }
  const created = newMethod(method.name, method.kind, service.proto, taken);
  const declarations = serviceDeclarations(service, created);
  const existing = inPackage.find(({ file }) => resolve(file) === resolve(path));
  if (existsSync(path) && !existing) {
    throw new CliError(`${path} exists, and is not of the package ${packageName}`, {
      remedy: 'Give another name, or its package: millrace add service package.Name',
    });
  }
  const header = `syntax = "proto3";\n\npackage ${packageName};\n`;
  plan.proto(path, addToProto(existing?.text ?? header, { declarations }), existing === undefined);

  const generated = posix.join(layout.generated, ...packageName.split('.'), `${service.snake}.ts`);
  const implementation = posix.join(layout.services, `${service.file}.ts`);
  if (existsSync(implementation)) {
    throw new CliError(`${implementation} exists already`, {
      remedy: 'Choose another name for the service, or rename that file.',
    });
  }
  const text = serviceModule(service, created, plan.specifier(implementation, generated));
  plan.create(implementation, text);
  plan.register(service, implementation);
  plan.test(service, created, `${service.file}.test.ts`, generated, implementation);
  return plan.done();
}

/** Plans a new method of a service that there is. */
export function planMethod(
  config: LoadedConfig,
  serviceName: string,
  given: { readonly name: string; readonly kind: Kind },
): Plan {
  const layout = layoutOf(config);
  const sources = readProject(config);
  const { source, node, fullName } = findService(sources, serviceName);
  const { packageName } = source.outline;
  const other = node.methods.find(({ name }) => name.text === given.name);
  if (other) {
    const { line } = source.lines.positionOf(other.start);
    throw new CliError(
      `${fullName} has a method ${given.name} already, in ${source.file}:${line}`,
      { remedy: 'Choose another name.' },
    );
  }
  const taken = new Set(
    sources
      .filter(({ outline }) => outline.packageName === packageName)
      .flatMap(({ outline }) => topLevelNames(outline)),
  );
  const method = newMethod(given.name, given.kind, node.name.text, taken);
  const rpc = { service: node, statement: rpcStatement(method) };
  const text = addToProto(source.text, { rpc, declarations: messageDeclarations(method) });
  const plan = new Planner(config, layout);
  plan.proto(slashes(relative('', resolve(source.file))), text, false);

  const service = namesOfService(node.name.text);
  const generated = posix.join(layout.generated, source.path.replace(/\.proto$/, '.ts'));
  const implementation = findImplementation(layout, service);
  const lines = handlerLines(method);
  const edited =
    implementation && addHandler(implementation.text, service.descriptor, propertyOf(lines), lines);
  if (implementation && edited !== undefined) {
    if (edited !== implementation.text) plan.change(implementation.path, edited);
  } else {
    const place = implementation?.path ?? posix.join(layout.services, `${service.file}.ts`);
    plan.byHand(place, [...lines.slice(0, -1), `${lines.at(-1)},`]);
  }
  const tested = implementation?.path ?? posix.join(layout.services, `${service.file}.ts`);
  const exported = implementation && constantOf(implementation.text, service.descriptor);
  const named = { ...service, constant: exported ?? service.constant };
  const file = `${service.file}-${fileNameOf(method.name)}.test.ts`;
  plan.test(named, method, file, generated, tested);
  return plan.done();
}

class Planner {
  private readonly config: LoadedConfig;
  private readonly layout: Layout;
  private readonly files: PlannedFile[] = [];
  private readonly manual: { path: string; lines: readonly string[] }[] = [];
  private protoFile: { path: string; text: string } | undefined;

  constructor(config: LoadedConfig, layout: Layout) {
    this.config = config;
    this.layout = layout;
  }

  proto(path: string, text: string, isNew: boolean): void {
    this.protoFile = { path, text };
    this.files.push({ path, text, change: isNew ? 'created' : 'changed' });
  }

  /** A file of the user's that exists stays as it is. */
  create(path: string, text: string): void {
    if (existsSync(path)) this.byHand(path, text.trimEnd().split('\n'));
    else this.files.push({ path, text, change: 'created' });
  }

  change(path: string, text: string): void {
    this.files.push({ path, text, change: 'changed' });
  }

  byHand(path: string, lines: readonly string[]): void {
    this.manual.push({ path, lines });
  }

  /** Enters a service into the list of those that are served. */
  register({ constant }: ServiceNames, implementation: string): void {
    const { registry } = this.layout;
    if (!existsSync(registry)) {
      this.create(registry, servicesModule(constant, this.specifier(registry, implementation)));
      return;
    }
    const text = readFileSync(registry, 'utf8');
    const specifier = this.specifier(registry, implementation);
    const edited = addToServices(text, constant, specifier);
    if (edited !== undefined) {
      this.change(registry, edited);
      return;
    }
    this.byHand(registry, [
      `import { ${constant} } from '${specifier}';`,
      `// and, in the array services: ${constant}`,
    ]);
  }

  test(
    service: ServiceNames,
    method: NewMethod,
    name: string,
    generated: string,
    implementation: string,
  ): void {
    const path = posix.join(this.layout.tests, name);
    const imports = {
      generated: this.specifier(path, generated),
      implementation: this.specifier(path, implementation),
    };
    this.create(path, testModule(service, method, imports));
  }

  /** How one module imports another: as compiled, or as TypeScript where the project does so. */
  specifier(from: string, to: string): string {
    const path = posix.relative(posix.dirname(from), to);
    const module = path.startsWith('.') ? path : `./${path}`;
    return module.replace(/\.ts$/, '.js');
  }

  /** Generates what the new .proto file leads to; throws a GenerateError if it is not right. */
  done(): Plan {
    const { protos, importPaths, runtime, out } = this.config;
    const { path, text } = this.protoFile as { path: string; text: string };
    const drafts = new Map([[resolve(path), text]]);
    const files = generate({ proto: protos, importPaths, runtime, drafts });
    const modules = outdated(files, out).map((file): PlannedFile => {
      const target = posix.join(slashes(out), file.path);
      return { path: target, text: file.text, change: existsSync(target) ? 'changed' : 'created' };
    });
    const [proto, ...rest] = this.files;
    return { files: [proto as PlannedFile, ...modules, ...rest], manual: this.manual };
  }
}

/** The project's .proto files, if there are any yet. */
function readProject({ protos, importPaths }: LoadedConfig): ProtoSource[] {
  const present = protos.filter((path) => holdsProtos(path));
  if (present.length === 0) return [];
  const { byPath, asked } = readSources(present, importPaths);
  return asked.flatMap((path) => byPath.get(path) ?? []);
}

function holdsProtos(path: string): boolean {
  if (path.endsWith('.proto')) return existsSync(path);
  if (!existsSync(path)) return false;
  return readdirSync(path, { recursive: true, encoding: 'utf8' }).some(
    (name) => name.endsWith('.proto') && !name.split(sep).includes('node_modules'),
  );
}

interface FoundService {
  readonly source: ProtoSource;
  readonly node: ServiceNode;
  readonly fullName: string;
}

function findService(sources: readonly ProtoSource[], given: string): FoundService {
  const all = sources.flatMap((source) =>
    source.outline.services.map((node) => {
      return { source, node, fullName: fullNameOf(source.outline, node) };
    }),
  );
  const found = all.filter(({ node, fullName }) => fullName === given || node.name.text === given);
  const [first, second] = found;
  if (first && !second) return first;
  const names = (second ? found : all).map(({ fullName }) => fullName).sort();
  if (second) {
    throw new CliError(`there are several services ${given}: ${names.join(', ')}`, {
      remedy: 'Give the one that is meant with its package.',
    });
  }
  throw new CliError(`there is no service ${given}`, {
    remedy:
      names.length === 0
        ? `Add it first: millrace add service ${given}`
        : `There is ${names.join(', ')}; to have another: millrace add service ${given}`,
  });
}

function fullNameOf({ packageName }: Outline, { name }: ServiceNode): string {
  return packageName === '' ? name.text : `${packageName}.${name.text}`;
}

/** The only module of the project in which `service(Name, { … })` is. */
function findImplementation(
  { services, registry, generated }: Layout,
  { descriptor }: ServiceNames,
): { path: string; text: string } | undefined {
  const root = posix.dirname(registry);
  if (!existsSync(root)) return undefined;
  const modules = readdirSync(root, { recursive: true, encoding: 'utf8' })
    .map((name) => posix.join(root, slashes(name)))
    .filter((path) => /(?<!\.d|\.test)\.ts$/.test(path) && !path.startsWith(`${generated}/`))
    .map((path) => ({ path, text: readFileSync(path, 'utf8') }))
    .filter(({ text }) => makesService(text, descriptor));
  const proper = modules.filter(({ path }) => path.startsWith(`${services}/`));
  const candidates = proper.length > 0 ? proper : modules;
  return candidates.length === 1 ? candidates[0] : undefined;
}

/** The name under which a module exports the service, if it does so plainly. */
function constantOf(text: string, descriptor: string): string | undefined {
  return new RegExp(`^export const (\\w+) = service\\(\\s*${descriptor}\\b`, 'm').exec(text)?.[1];
}

function propertyOf([first = '']: readonly string[]): string {
  return /([\w$]+)\(/.exec(first)?.[1] ?? '';
}

function newMethod(
  name: string,
  kind: Kind,
  service: string,
  taken: ReadonlySet<string>,
): NewMethod {
  for (const prefix of [name, service + name]) {
    const method = { name, kind, request: `${prefix}Request`, response: `${prefix}Response` };
    if (!taken.has(method.request) && !taken.has(method.response)) return method;
  }
  throw new CliError(
    `${name}Request and ${service}${name}Request, or their responses, are declared already`,
    { remedy: 'Choose another name for the method.' },
  );
}

function slashes(path: string): string {
  return path.split(sep).join('/');
}
