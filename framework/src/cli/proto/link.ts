import { type Diagnostic, diagnosticAt, type Range } from './diagnostic.js';
import type { Lines } from './lines.js';
import type { EnumNode, FieldNode, MessageNode, Name, Outline, Scope } from './outline.js';

/** A file among those that belong together. */
export interface LinkedFile {
  /** As other files import it. */
  readonly path: string;
  /** As the user would open it. */
  readonly file: string;
  readonly lines: Lines;
  readonly outline: Outline;
}

/** A scalar is no declaration. */
const SCALARS = new Set(
  'double float int32 int64 uint32 uint64 sint32 sint64 fixed32 fixed64 sfixed32 sfixed64 bool string bytes'.split(
    ' ',
  ),
);

/**
 * Checks the rules that span files: names declared twice, types and imports that there are not,
 * imports in a circle.
 *
 * @param files by import path; an import that is not among them was not found
 * @param shipped the import path of each type that can be imported without being there, by full name
 */
export function link(
  files: ReadonlyMap<string, LinkedFile>,
  shipped: ReadonlyMap<string, string>,
): Diagnostic[] {
  const linker = new Linker(files, shipped);
  linker.run();
  return linker.diagnostics;
}

interface Declared {
  readonly kind: string;
  readonly owner: LinkedFile;
  readonly name: Range;
  readonly node?: MessageNode | EnumNode;
}

/** What a file sees. */
interface Names {
  readonly file: LinkedFile;
  readonly visible: ReadonlySet<string>;
  readonly blind: boolean;
}

class Linker {
  readonly diagnostics: Diagnostic[] = [];
  private readonly files: ReadonlyMap<string, LinkedFile>;
  private readonly shipped: ReadonlyMap<string, string>;
  private readonly symbols = new Map<string, Declared>();
  /** The files of each package and of those it lies in. */
  private readonly packages = new Map<string, Set<string>>();

  constructor(files: ReadonlyMap<string, LinkedFile>, shipped: ReadonlyMap<string, string>) {
    this.files = files;
    this.shipped = shipped;
  }

  run(): void {
    for (const file of this.files.values()) this.declareFile(file);
    for (const file of this.files.values()) this.resolveFile(file);
    this.findCircles();
  }

  private declareFile(file: LinkedFile): void {
    const { packageName, services } = file.outline;
    const parts = packageName === '' ? [] : packageName.split('.');
    for (let count = 1; count <= parts.length; count++) {
      const name = parts.slice(0, count).join('.');
      this.packages.set(name, (this.packages.get(name) ?? new Set()).add(file.path));
    }
    this.declareScope(file, packageName, file.outline);
    for (const service of services) {
      const fullName = this.declare(file, packageName, 'service', service.name);
      if (fullName === undefined) continue;
      for (const { name } of service.methods) this.declare(file, fullName, 'rpc', name);
    }
  }

  private declareScope(file: LinkedFile, scope: string, nodes: Scope): void {
    for (const message of nodes.messages) {
      const fullName = this.declare(file, scope, 'message', message.name, message);
      if (fullName === undefined) continue;
      for (const { name } of message.oneofs) this.declare(file, fullName, 'oneof', name);
      for (const { name, group } of message.fields) {
        // The field of a group has the name of its message in lower case.
        const own = group ? { ...name, text: name.text.toLowerCase() } : name;
        this.declare(file, fullName, 'field', own);
      }
      this.declareScope(file, fullName, message);
    }
    for (const declared of nodes.enums) {
      const fullName = this.declare(file, scope, 'enum', declared.name, declared);
      if (fullName === undefined) continue;
      // Its values are the enum's neighbours, by the rules of C++.
      for (const { name } of declared.values) this.declare(file, scope, 'value', name);
    }
    for (const { fields } of nodes.extends) {
      for (const { name, group } of fields) {
        if (!group) this.declare(file, scope, 'extension', name);
      }
    }
  }

  /** The full name of what is declared; nothing if it is taken, so that one error says so. */
  private declare(
    owner: LinkedFile,
    scope: string,
    kind: string,
    name: Name,
    node?: MessageNode | EnumNode,
  ): string | undefined {
    const fullName = within(scope, name.text);
    const other = this.symbols.get(fullName);
    if (!other) {
      this.symbols.set(fullName, { kind, owner, name, ...(node && { node }) });
      return fullName;
    }
    const { line } = other.owner.lines.positionOf(other.name.start);
    const where = other.owner === owner ? `line ${line}` : `${other.owner.file}:${line}`;
    const first =
      other.kind === kind ? 'is declared already' : `is declared already, as ${other.kind}`;
    const remedy =
      kind === 'value' && other.kind === 'value'
        ? 'the values of all enums beside each other need different names: give them a prefix'
        : 'rename one';
    this.report(owner, name, `${kind} ${name.text} ${first} (${where}); ${remedy}`);
    return undefined;
  }

  private resolveFile(file: LinkedFile): void {
    const { outline } = file;
    for (const { path } of outline.imports) {
      if (path.text === file.path) this.report(file, path, `${path.text} imports itself`);
    }
    const names = { file, visible: this.visibleFrom(file), blind: this.isBlind(file) };
    this.resolveScope(names, outline.packageName, outline);
    for (const service of outline.services) {
      const scope = within(outline.packageName, service.name.text);
      for (const { name, input, output } of service.methods) {
        for (const { type } of [input, output]) {
          const what = `a type of rpc ${name.text}`;
          const found = this.resolve(names, scope, type, what);
          if (found && found.kind !== 'message') {
            this.report(file, type, `${type.text}, ${what}, is no message but an ${found.kind}`);
          }
        }
      }
    }
  }

  private resolveScope(names: Names, scope: string, nodes: Scope): void {
    for (const message of nodes.messages) {
      const fullName = within(scope, message.name.text);
      for (const field of message.fields) this.resolveField(names, fullName, field);
      this.resolveScope(names, fullName, message);
    }
    for (const { target, fields } of nodes.extends) {
      const found = this.resolve(names, scope, target, 'which is to be extended');
      for (const field of fields) {
        this.resolveField(names, scope, field);
        if (found?.node) this.checkExtension(names.file, field, target, found.node);
      }
    }
  }

  private resolveField(names: Names, scope: string, { name, type, map, group }: FieldNode): void {
    if (group) return;
    const one = map?.value ?? type;
    if (!SCALARS.has(one.text)) this.resolve(names, scope, one, `the type of field ${name.text}`);
  }

  private checkExtension(
    file: LinkedFile,
    { name, number }: FieldNode,
    target: Name,
    extended: MessageNode | EnumNode,
  ): void {
    if (extended.kind !== 'message') {
      this.report(file, target, `${target.text} is no message but an enum`);
      return;
    }
    if (!number) return;
    const { value } = number;
    const allowed = extended.extensions.some(
      (range) => range.kind === 'numbers' && range.from <= value && value <= range.to,
    );
    if (!allowed) {
      const reason = `extension ${name.text} has the number ${value}, which ${target.text} does not leave to extensions`;
      this.report(file, number, reason);
    }
  }

  /**
   * Finds a type as protoc does: the first component of the name decides, from the innermost scope
   * outwards, and what it names has to hold the rest.
   */
  private resolve(names: Names, scope: string, type: Name, what: string): Declared | undefined {
    const found = this.find(names, scope, type.text);
    if (typeof found === 'object') return found;
    if (names.blind) return undefined;
    this.report(
      names.file,
      type,
      `${type.text}, ${what}, ${this.unknown(names, scope, type.text, found)}`,
    );
    return undefined;
  }

  /** The declaration, or the full name that the first component makes of it, or nothing. */
  private find(names: Names, scope: string, text: string): Declared | string | undefined {
    if (text.startsWith('.')) return this.typeNamed(names, text.slice(1));
    const [first = '', ...rest] = text.split('.');
    for (let at: string | undefined = scope; at !== undefined; at = outside(at)) {
      const begin = within(at, first);
      if (rest.length === 0) {
        const found = this.typeNamed(names, begin);
        if (found) return found;
      } else if (this.holdsNames(names, begin)) {
        const full = within(at, text);
        return this.typeNamed(names, full) ?? full;
      }
    }
    return undefined;
  }

  private typeNamed({ visible }: Names, fullName: string): Declared | undefined {
    const found = this.symbols.get(fullName);
    return found?.node && visible.has(found.owner.path) ? found : undefined;
  }

  private holdsNames({ visible }: Names, fullName: string): boolean {
    const paths = this.packages.get(fullName);
    if (paths && [...paths].some((path) => visible.has(path))) return true;
    const found = this.symbols.get(fullName);
    return (
      (found?.kind === 'message' || found?.kind === 'service') && visible.has(found.owner.path)
    );
  }

  /** Why there is no such type, and what would help. */
  private unknown(
    { visible }: Names,
    scope: string,
    text: string,
    taken: string | undefined,
  ): string {
    const name = text.replace(/^\./, '');
    for (let at: string | undefined = scope; at !== undefined; at = outside(at)) {
      const full = within(at, name);
      const hidden = this.symbols.get(full);
      const path = hidden?.node ? hidden.owner.path : this.shipped.get(full);
      if (path !== undefined && !visible.has(path)) {
        return `is declared in ${path}; add import "${path}";`;
      }
    }
    if (taken !== undefined && taken !== name) {
      return `is ${taken} here, which is not declared; begin the name with a dot, .${name}, to mean another`;
    }
    const last = name.slice(name.lastIndexOf('.') + 1);
    const alike = [...this.symbols].find(
      ([full, { node }]) => node && full.slice(full.lastIndexOf('.') + 1) === last,
    );
    if (alike) {
      const [full, { owner }] = alike;
      return `is not declared; is ${full} meant, of ${owner.path}?`;
    }
    const [full, path] = [...this.shipped].find(([full]) => full.endsWith(`.${last}`)) ?? [];
    if (full) return `is not declared; is ${full} meant, of import "${path}";?`;
    return 'is not declared; is an import missing?';
  }

  /** The file, its imports, and what those import publicly. */
  private visibleFrom(file: LinkedFile): Set<string> {
    const visible = new Set([file.path, ...file.outline.imports.map(({ path }) => path.text)]);
    for (const path of visible) {
      if (path === file.path) continue;
      for (const { path: next, modifier } of this.files.get(path)?.outline.imports ?? []) {
        if (modifier === 'public') visible.add(next.text);
      }
    }
    return visible;
  }

  /** Whether it cannot be known what the file sees: then only what is missing is reported. */
  private isBlind(file: LinkedFile): boolean {
    return [...this.visibleFrom(file)].some(
      (path) => this.files.get(path)?.outline.incomplete !== false,
    );
  }

  private findCircles(): void {
    const done = new Set<string>();
    const visit = (file: LinkedFile, trail: readonly string[]): void => {
      done.add(file.path);
      for (const { path } of file.outline.imports) {
        const next = this.files.get(path.text);
        if (!next || next === file) continue;
        const at = [...trail, file.path].indexOf(path.text);
        if (at >= 0) {
          const circle = [...trail.slice(at), file.path, path.text].join(' → ');
          this.report(file, path, `imports go in a circle: ${circle}`);
        } else if (!done.has(path.text)) {
          visit(next, [...trail, file.path]);
        }
      }
    };
    for (const file of this.files.values()) if (!done.has(file.path)) visit(file, []);
  }

  private report({ file, lines }: LinkedFile, { start, end }: Range, message: string): void {
    this.diagnostics.push(diagnosticAt(file, lines, { start, end, message }));
  }
}

function within(scope: string, name: string): string {
  return scope === '' ? name : `${scope}.${name}`;
}

/** The scope around a scope; undefined around the outermost, which is ''. */
function outside(scope: string): string | undefined {
  if (scope === '') return undefined;
  const dot = scope.lastIndexOf('.');
  return dot < 0 ? '' : scope.slice(0, dot);
}
