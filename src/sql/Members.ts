/**
 * How many instances report on each circuit. A minute later it is counted again: a count reads a row of each instance, and a
 * rough one is enough.
 */
const MOST_MILLIS = 60_000

export class Members {
  #counts = new Map<string, number>()
  /** By the storage's clock. */
  #countedAt = -Infinity

  /** Those of these circuits that are to be counted. */
  unknown(keys: ReadonlyArray<string>): ReadonlyArray<string> {
    return keys.filter((key) => !this.#counts.has(key))
  }

  /** The count, where there is one. */
  of(key: string): number | undefined {
    return this.#counts.get(key)
  }

  counted(counts: ReadonlyMap<string, number>, nowMillis: number): void {
    // A clock that was set back would keep them for long.
    if (Math.abs(nowMillis - this.#countedAt) > MOST_MILLIS) {
      this.#counts = new Map()
      this.#countedAt = nowMillis
    }
    for (const [key, count] of counts) this.#counts.set(key, count)
  }
}
