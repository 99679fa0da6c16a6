import { type Diagnostic, diagnosticAt, type Range } from '../proto/diagnostic.js';
import type { MessageNode, Name, Outline, Scope, ServiceNode } from '../proto/outline.js';
import type { ProtoSource } from '../proto/source.js';
import { identifier, methodName, propertyName } from './names.js';

/**
 * What the generator asks of a file beyond the rules of the language: that names stay different in
 * TypeScript, and that there are no groups.
 */
export function checkRestrictions({ file, lines, outline }: ProtoSource): Diagnostic[] {
  const diagnostics: Diagnostic[] = [];
  const report = ({ start, end }: Range, message: string): void => {
    diagnostics.push(diagnosticAt(file, lines, { start, end, message }));
  };
  checkIdentifiers(outline, report);
  for (const { path, message } of messagesOf(outline)) checkProperties(path, message, report);
  for (const service of outline.services) checkMethods(service, report);
  return diagnostics;
}

type Report = (range: Range, message: string) => void;

/** The message of the scope and those inside of them, each with its path: `Outer.Inner`. */
function* messagesOf(scope: Scope, outer = ''): Generator<{ path: string; message: MessageNode }> {
  for (const message of scope.messages) {
    const path = outer + message.name.text;
    yield { path, message };
    yield* messagesOf(message, `${path}.`);
  }
}

function checkIdentifiers(outline: Outline, report: Report): void {
  const messages = [...messagesOf(outline)];
  const enums = [
    ...outline.enums.map(({ name }) => ({ path: name.text, name })),
    ...messages.flatMap(({ path, message }) =>
      message.enums.map(({ name }) => ({ path: `${path}.${name.text}`, name })),
    ),
  ];
  const declared: { path: string; name: Name }[] = [
    ...messages.map(({ path, message }) => ({ path, name: message.name })),
    ...enums,
    ...outline.services.map(({ name }) => ({ path: name.text, name })),
  ];
  const taken = new Map<string, string>();
  for (const { path, name } of declared.sort((a, b) => a.name.start - b.name.start)) {
    const becomes = identifier(path.replaceAll('.', '_'));
    const other = taken.get(becomes);
    // The same name twice is an error of its own.
    if (other !== undefined && other !== path) {
      report(name, `${other} and ${path} both become '${becomes}'; rename one`);
    }
    taken.set(becomes, path);
  }
}

function checkProperties(path: string, message: MessageNode, report: Report): void {
  const taken = new Map<string, string>();
  const claim = (kind: string, name: Name): void => {
    const property = propertyName(name.text);
    const own = `${kind} ${name.text}`;
    const other = taken.get(property);
    if (other !== undefined && !other.endsWith(` ${name.text}`)) {
      report(
        name,
        `${other} and ${own} of ${path} both become the property '${property}'; rename one`,
      );
    }
    taken.set(property, own);
  };
  const members = [...message.fields, ...message.oneofs].sort((a, b) => a.start - b.start);
  for (const { kind, name } of members) claim(kind, name);
  for (const { name, type, group } of message.fields) {
    if (!group) continue;
    report(type, `field ${name.text} is a group, which is not supported; make it a message`);
  }
}

function checkMethods({ name: service, methods }: ServiceNode, report: Report): void {
  const taken = new Map<string, string>();
  for (const { name } of methods) {
    const property = methodName(name.text);
    const other = taken.get(property);
    if (other !== undefined && other !== name.text) {
      const reason = `rpc ${other} and rpc ${name.text} of ${service.text} both become '${property}'; rename one`;
      report(name, reason);
    }
    taken.set(property, name.text);
  }
}
