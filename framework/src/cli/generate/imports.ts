import { posix } from 'node:path';
import type { Enum, Message, ProtoFile } from './model.js';
import { braces, type Doc, lines } from './printer.js';

export interface ModuleOptions {
  /** What the module imports the codec runtime from. */
  readonly runtime: string;
  /** Constants that hold the JSON forms of messages, by full name, for the well-known types. */
  readonly jsonForms?: { readonly module: string; readonly names: ReadonlyMap<string, string> };
}

interface Imported {
  /** The name in the module that declares it. */
  readonly name: string;
  /** The name in this module, another if that one is taken here. */
  readonly local: string;
  typeOnly: boolean;
}

/** The names by which one module refers to the types of others, and the imports that follow. */
export class Imports {
  private readonly file: ProtoFile;
  private readonly options: ModuleOptions;
  private readonly taken = new Set<string>();
  private readonly byPath = new Map<string, Map<string, Imported>>();
  private usesRuntime = false;
  private usesForms = false;

  constructor(file: ProtoFile, options: ModuleOptions) {
    this.file = file;
    this.options = options;
    for (const { identifier, init } of file.messages) this.taken.add(identifier).add(init);
    for (const { identifier } of [...file.enums, ...file.services]) this.taken.add(identifier);
    this.taken.add(file.descriptor.identifier);
  }

  /** A name of the codec runtime. */
  codec(name: string): string {
    this.usesRuntime = true;
    return `codec.${name}`;
  }

  /** The JSON form of a message that does not follow from its fields. */
  jsonForm(fullName: string): string | undefined {
    const name = this.options.jsonForms?.names.get(fullName);
    if (name === undefined) return undefined;
    this.usesForms = true;
    return `forms.${name}`;
  }

  /** The message's type, where only a type is wanted. */
  type(declared: Message | Enum): string {
    return this.refer(declared.file, declared.identifier, true);
  }

  /** The interface in which the message is given. */
  init(message: Message): string {
    return this.refer(message.file, message.init, true);
  }

  /** The constant of that name: a MessageType or the values of an enum. */
  value(declared: Message | Enum): string {
    return this.refer(declared.file, declared.identifier, false);
  }

  /** The constant that describes the file. */
  descriptor(file: ProtoFile): string {
    return this.refer(file, file.descriptor.identifier, false);
  }

  /** Every name at module level, which a variable must not hide. */
  get names(): ReadonlySet<string> {
    return this.taken;
  }

  print(): Doc {
    const rows: Doc[] = [];
    if (this.usesRuntime) rows.push(`import * as codec from '${this.options.runtime}';`);
    if (this.usesForms) rows.push(`import * as forms from '${this.options.jsonForms?.module}';`);
    const from = posix.dirname(this.file.path);
    const modules = [...this.byPath].map(([path, names]) => {
      const relative = posix.relative(from, path.replace(/\.proto$/, '.js'));
      return { specifier: relative.startsWith('.') ? relative : `./${relative}`, names };
    });
    for (const { specifier, names } of modules.sort((a, b) => compare(a.specifier, b.specifier))) {
      const sorted = [...names.values()].sort((a, b) => compare(a.name, b.name));
      const typeOnly = sorted.every((imported) => imported.typeOnly);
      const clauses = sorted.map(({ name, local, typeOnly: type }) => {
        const clause = name === local ? name : `${name} as ${local}`;
        return type && !typeOnly ? `type ${clause}` : clause;
      });
      const keyword = typeOnly ? 'import type ' : 'import ';
      // A single name is never put on a line of its own.
      const clause = clauses.length === 1 ? `{ ${clauses[0]} }` : braces(clauses);
      rows.push([keyword, clause, ` from '${specifier}';`]);
    }
    return rows.length === 0 ? '' : lines(...rows);
  }

  private refer(file: ProtoFile, name: string, typeOnly: boolean): string {
    if (file === this.file) return name;
    if (file.wellKnown) return this.codec(name);
    const names = this.byPath.get(file.path) ?? new Map<string, Imported>();
    this.byPath.set(file.path, names);
    const known = names.get(name);
    if (known) {
      known.typeOnly &&= typeOnly;
      return known.local;
    }
    let local = name;
    for (let count = 1; this.taken.has(local); count++) local = `${name}$${count}`;
    this.taken.add(local);
    names.set(name, { name, local, typeOnly });
    return local;
  }
}

function compare(a: string, b: string): number {
  return a < b ? -1 : a > b ? 1 : 0;
}
