import type { Outline, ServiceNode } from '../proto/outline.js';
import { tokenize } from '../proto/token.js';
import { applyEdits, type Edit, indentAt, indentUnitOf, lineEndOf } from './text-edit.js';

/** What is added to a .proto file. */
export interface Addition {
  /** A statement for a service that is there: `rpc Get(GetRequest) returns (GetReply);` */
  readonly rpc?: { readonly service: ServiceNode; readonly statement: string };
  /** Declarations for the end of the file, each as its lines, indented by two spaces. */
  readonly declarations: readonly (readonly string[])[];
}

/**
 * Adds to the text of a .proto file, in which nothing is wrong. What is there stays as it is, byte
 * for byte; what comes is indented, and ends its lines, as the rest does.
 */
export function addToProto(text: string, { rpc, declarations }: Addition): string {
  const edits: Edit[] = [];
  if (rpc) edits.push(insertRpc(text, rpc.service, rpc.statement));
  if (declarations.length === 0) return applyEdits(text, edits);
  const lineEnd = lineEndOf(text);
  const unit = indentUnitOf(text);
  const added = declarations.map((lines) =>
    lines.map((line) => line.replace(/^(?: {2})+/, (blanks) => unit.repeat(blanks.length / 2))),
  );
  const ended = /[\r\n]$/.test(text) || text === '';
  const tail = added.map((lines) => lineEnd + lines.join(lineEnd) + lineEnd).join('');
  edits.push({ start: text.length, end: text.length, text: (ended ? '' : lineEnd) + tail });
  return applyEdits(text, edits);
}

/** Puts a statement behind the last one of a service. */
function insertRpc(text: string, service: ServiceNode, statement: string): Edit {
  const { body } = service;
  const lineEnd = lineEndOf(text);
  const outer = indentAt(text, service.start);
  const tokens = tokenize(text).filter(({ start, end }) => start >= body.start && end <= body.end);
  const last = tokens.findLast(({ kind }) => kind !== 'whitespace');
  const from = last?.end ?? body.start;
  // Only blanks are left between there and the brace.
  const closed = /[\r\n]/.test(text.slice(from, body.end));
  const previous = service.methods.at(-1);
  const before = service.methods.at(-2);
  const ownLine = previous && /^[ \t]*$/.test(lineBefore(text, previous.start));
  const indent = ownLine ? indentAt(text, previous.start) : outer + indentUnitOf(text);
  const between = previous && before ? text.slice(before.end, previous.start) : '';
  const apart = /(?:\r\n|\n|\r)[ \t]*(?:\r\n|\n|\r)/.test(between);
  const inserted = `${lineEnd}${apart ? lineEnd : ''}${indent}${statement}`;
  if (closed) return { start: from, end: from, text: inserted };
  return { start: from, end: body.end, text: `${inserted}${lineEnd}${outer}` };
}

function lineBefore(text: string, offset: number): string {
  const start =
    Math.max(text.lastIndexOf('\n', offset - 1), text.lastIndexOf('\r', offset - 1)) + 1;
  return text.slice(start, offset);
}

/** The full names of all messages and enums of a file's top level, and of its services. */
export function topLevelNames({ messages, enums, services }: Outline): string[] {
  return [...messages, ...enums, ...services].map(({ name }) => name.text);
}
