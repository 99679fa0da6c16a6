import type { Field, Message, Oneof } from './model.js';

/** A property of a message: a field of its own, or a oneof with its members. */
export type Member =
  | { readonly field: Field }
  | { readonly oneof: Oneof; readonly fields: readonly Field[] };

/** In the order of the numbers, a oneof where its first member would be. */
export function membersOf(message: Message): Member[] {
  const members: Member[] = [];
  const seen = new Set<Oneof>();
  for (const field of message.fields) {
    const { oneof } = field;
    if (!oneof) members.push({ field });
    else if (!seen.has(oneof)) {
      seen.add(oneof);
      members.push({ oneof, fields: message.fields.filter((other) => other.oneof === oneof) });
    }
  }
  return members;
}
