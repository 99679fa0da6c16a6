/**
 * Node's own UTF-8 routines. They take any Uint8Array as `this`, which spares a view per
 * string; `@types/node` leaves them out since they check no bounds of their own, so every caller here
 * has checked them before.
 */
interface NativeText {
  utf8Slice(this: Uint8Array, start: number, end: number): string;
  utf8Write(this: Uint8Array, text: string, offset: number, length: number): number;
}

const native = Buffer.prototype as unknown as NativeText;

/** Invalid sequences become U+FFFD. */
export const utf8Slice = native.utf8Slice;
/** Returns the bytes written; never writes a part of a character. Lone surrogates become U+FFFD. */
export const utf8Write = native.utf8Write;
