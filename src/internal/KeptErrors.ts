/**
 * The circuits of one breaker that keep the error of a failure, in the order in which they began to. A keyed breaker may have
 * 100,000 open circuits, and an error refers to whatever its maker put into it, so only so many of them keep theirs.
 */

/** Beyond so many, the circuit that has kept its error for longest drops it. */
export const MOST_KEPT_ERRORS = 1000

interface Keeper {
  readonly forgetErrors: () => void
}

export class KeptErrors {
  readonly #keepers = new Set<Keeper>()

  /** This circuit keeps an error from now on. */
  add(keeper: Keeper): void {
    this.#keepers.add(keeper)
    if (this.#keepers.size > MOST_KEPT_ERRORS) this.#keepers.values().next().value!.forgetErrors()
  }

  /** This circuit keeps none any more. */
  delete(keeper: Keeper): void {
    this.#keepers.delete(keeper)
  }
}
