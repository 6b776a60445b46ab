/**
 * Circuits of which others write the same stripe again and again. A report that comes alone locks its stripe there at once,
 * because without a lock it would find the stripe changed, and then need the lock after all.
 */
const LOCKED_REPORTS = 20

export class Contended {
  /** How many reports still lock. */
  readonly #left = new Map<string, number>()

  /** Whether the next report locks. */
  locks(key: string): boolean {
    const left = this.#left.get(key) ?? 0
    if (left > 1) this.#left.set(key, left - 1)
    else this.#left.delete(key)
    return left > 0
  }

  /** Another one wrote between our reading and our writing. */
  found(key: string): void {
    this.#left.set(key, LOCKED_REPORTS)
  }
}
