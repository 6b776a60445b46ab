/**
 * Circuits of which others write the same stripe again and again. The database adds their reports, because they
 * would find the stripe changed, and come again.
 */
const ADDED_REPORTS = 100

export class Contended {
  /** How many reports are still added by the database. */
  readonly #left = new Map<string, number>()

  /** Whether the database is to add the next report. */
  adds(key: string): boolean {
    const left = this.#left.get(key) ?? 0
    if (left > 1) this.#left.set(key, left - 1)
    else this.#left.delete(key)
    return left > 0
  }

  /** Another one wrote between our reading and our writing. */
  found(key: string): void {
    this.#left.set(key, ADDED_REPORTS)
  }
}
