/**
 * Circuits of which others write the same stripe again and again. The database adds their reports, because they would find the stripe
 * changed, and come again. An addition costs the server almost as much as all the rest of a report, so from time to time one report
 * is tried without: after each that still finds its stripe changed, twice as many are added before the next.
 */

/** The most reports on a circuit that are added before one is tried without. */
const MOST_ADDED = 128

/** Where there are more, all are forgotten, and found again: those that are used no more would stay. */
const MOST_CIRCUITS = 10_000

interface Adding {
  /** How many more reports are added; below zero while one is tried without. */
  left: number
  readonly count: number
}

export class Contended {
  readonly #adding = new Map<string, Adding>()

  /** Whether the database is to add the next report. */
  adds(key: string): boolean {
    const adding = this.#adding.get(key)
    if (adding === undefined) return false
    if (adding.left >= 0) return adding.left-- > 0
    // The one that was tried has found its stripe unchanged.
    this.#adding.delete(key)
    return false
  }

  /** Another one wrote between our reading and our writing, or is writing. */
  found(key: string): void {
    const adding = this.#adding.get(key)
    if (adding !== undefined && adding.left >= 0) return
    if (this.#adding.size >= MOST_CIRCUITS) this.#adding.clear()
    const count = adding === undefined ? 1 : Math.min(2 * adding.count, MOST_ADDED)
    this.#adding.set(key, { left: count, count })
  }
}
