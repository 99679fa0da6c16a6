import type { MessageType } from './message-type.js';

// biome-ignore lint/suspicious/noExplicitAny: the registry holds message types of every kind
type AnyMessageType = MessageType<any, any>;

const types = new Map<string, AnyMessageType>();

/**
 * Makes a type known by its name, which the JSON form of google.protobuf.Any needs. Generated types
 * do this as they are loaded; the last of the same name wins.
 */
export function registerType(type: AnyMessageType): void {
  types.set(type.typeName, type);
}

/** The type of that full name, if a module that holds it has been loaded. */
export function findType(typeName: string): AnyMessageType | undefined {
  return types.get(typeName);
}
