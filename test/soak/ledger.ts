// What has happened: outcomes by name, and everything that may not happen.

/** Violations shown in full; the rest is counted. */
const SHOWN = 25;

export class Ledger {
  readonly outcomes = new Map<string, number>();
  readonly warnings = new Map<string, number>();
  readonly #violations: string[] = [];
  #violationCount = 0;
  calls = 0;
  messages = 0;
  bytes = 0;

  /** A call came to an end that its scenario allows. */
  outcome(name: string): void {
    this.calls++;
    add(this.outcomes, name);
  }

  warning(text: string): void {
    add(this.warnings, text);
  }

  violation(text: string): void {
    this.#violationCount++;
    if (this.#violations.length >= SHOWN) return;
    this.#violations.push(text);
    process.stdout.write(`  WRONG: ${text}\n`);
  }

  get violations(): number {
    return this.#violationCount;
  }

  get violationTexts(): readonly string[] {
    return this.#violations;
  }
}

function add(counts: Map<string, number>, name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}
