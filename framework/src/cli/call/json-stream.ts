import { usageError } from '../cli-error.js';
import { type Place, placeIn } from './json-text.js';

/** The text of one JSON value, and where it begins. */
export interface JsonPiece {
  readonly text: string;
  readonly place: Place;
}

const PIECE_LENGTH_MOST = 64 * 1024 * 1024;

/**
 * Cuts a stream of JSON values into pieces, each as soon as it is complete: one to a line (NDJSON),
 * over several lines, or directly behind one another. What is no JSON comes as a piece as well, for
 * the parser to complain about.
 */
export async function* jsonPieces(chunks: AsyncIterable<string>): AsyncGenerator<JsonPiece> {
  const splitter = new Splitter();
  for await (const chunk of chunks) yield* splitter.push(chunk);
  yield* splitter.end();
}

/** The pieces of a text that is there as a whole. */
export function piecesOf(text: string): JsonPiece[] {
  const splitter = new Splitter();
  return [...splitter.push(text), ...splitter.end()];
}

class Splitter {
  /** What has not been handed out. */
  #text = '';
  /** The place of its first character. */
  #place: Place = { line: 1, column: 1 };
  /** How far it has been looked at. */
  #at = 0;
  /** Where the present piece begins; -1 between two. */
  #start = -1;
  #depth = 0;
  #inString = false;
  #escaped = false;

  *push(chunk: string): Generator<JsonPiece> {
    this.#text += chunk;
    while (this.#at < this.#text.length) {
      this.#skip();
      if (this.#at >= this.#text.length) break;
      const end = this.#look(this.#text[this.#at] as string);
      if (end !== undefined) yield this.#cut(end);
    }
    if (this.#start < 0) this.#drop(this.#text.length);
    if (this.#text.length > PIECE_LENGTH_MOST) {
      const { line, column } = this.#place;
      throw usageError(
        `line ${line}, column ${column}: a value that is longer than ${PIECE_LENGTH_MOST} characters`,
        'Is a closing bracket or quote missing? Write one message to a line.',
      );
    }
  }

  *end(): Generator<JsonPiece> {
    if (this.#start >= 0) yield this.#cut(this.#text.length);
  }

  #skip(): void {
    if (this.#escaped || (this.#depth === 0 && !this.#inString)) return;
    const boring = this.#inString ? insideString : insideBrackets;
    boring.lastIndex = this.#at;
    boring.exec(this.#text);
    this.#at = boring.lastIndex;
  }

  /** Looks at the next character. Answers the end of the present piece if that is clear now. */
  #look(character: string): number | undefined {
    const at = this.#at++;
    if (this.#inString) return this.#lookInString(character, at);
    const space = /\s/.test(character);
    if (this.#start < 0) {
      if (space) return undefined;
      this.#start = at;
    } else if (this.#depth === 0 && (space || /["{[]/.test(character))) {
      // The end of a number or word; what comes now is looked at again.
      this.#at = at;
      return at;
    }
    switch (character) {
      case '"':
        this.#inString = true;
        return undefined;
      case '{':
      case '[':
        this.#depth++;
        return undefined;
      case '}':
      case ']':
        return --this.#depth <= 0 ? at + 1 : undefined;
      default:
        return undefined;
    }
  }

  #lookInString(character: string, at: number): number | undefined {
    // No string of JSON goes on in the next line: whoever types should hear of it now.
    if (character === '\n') return at;
    if (this.#escaped) this.#escaped = false;
    else if (character === '\\') this.#escaped = true;
    else if (character === '"') {
      this.#inString = false;
      if (this.#depth === 0) return at + 1;
    }
    return undefined;
  }

  #cut(end: number): JsonPiece {
    const start = this.#start;
    const piece = {
      text: this.#text.slice(start, end),
      place: placeIn(this.#text, start, this.#place),
    };
    this.#start = -1;
    this.#depth = 0;
    this.#inString = false;
    this.#escaped = false;
    this.#drop(end);
    return piece;
  }

  #drop(length: number): void {
    this.#place = placeIn(this.#text, length, this.#place);
    this.#text = this.#text.slice(length);
    this.#at -= length;
  }
}

/** What cannot end a piece, inside and outside of strings. */
const insideString = /[^"\\\n]*/y;
const insideBrackets = /[^"{}[\]]*/y;
