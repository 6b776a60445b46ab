/**
 * When the trip policies of Effect's breaker trip a circuit of one of our storages. A storage adds up outcomes and knows no policy,
 * so it is judged here, on what the storage answers.
 *
 * A streak is the storage's, and exact. The last calls are a ring in each process: what others have recorded is known by how much the
 * counts of this generation have grown, not in which order.
 */
import type * as CircuitBreaker from "effect/persistence/CircuitBreaker"

/** An outcome that counts, on its way to the storage. */
export interface Outcome {
  readonly isFailure: boolean
  /** The generation that its call was admitted in. */
  readonly generation: number
  readonly tripPolicy: CircuitBreaker.TripPolicy
}

/**
 * How many of the waiting outcomes the next report takes. They are of one generation. Failures that come first are reported before the
 * success that follows them, because the streak after the report would not show what they added to the streak before.
 */
export const reportable = (outcomes: ReadonlyArray<Outcome>): number => {
  const [first] = outcomes
  if (first === undefined) return 0
  const end = outcomes.findIndex(({ generation, isFailure }) =>
    generation !== first.generation || (first.isFailure && !isFailure)
  )
  return end === -1 ? outcomes.length : end
}

/** The storage's counts of this generation, after the report. `totals` is absent where no policy looks at the last calls. */
export interface Counted {
  readonly streak: number
  readonly totals?: { readonly success: number; readonly failure: number } | undefined
}

/** The last calls of a circuit in one generation, oldest first. */
export class LastCalls {
  readonly generation: number
  #success = 0
  #failure = 0
  readonly #failed: Array<boolean> = []
  #failures = 0

  constructor(generation: number) {
    this.generation = generation
  }

  /** Adds what other processes have recorded since the last time; `own` are outcomes that the totals hold, too. */
  addOthers(totals: { readonly success: number; readonly failure: number }, own: ReadonlyArray<Outcome>, size: number) {
    const ownFailures = own.filter(({ isFailure }) => isFailure).length
    // The totals get smaller when the oldest of them leave their window, after hours.
    const failures = Math.max(0, totals.failure - this.#failure - ownFailures)
    const successes = Math.max(0, totals.success - this.#success - (own.length - ownFailures))
    const share = Math.min(1, size / Math.max(1, failures + successes))
    // Of an unknown order the failures are the older ones, because they leave the ring first.
    for (let n = Math.round(failures * share); n > 0; n--) this.add(true, size)
    for (let n = Math.round(successes * share); n > 0; n--) this.add(false, size)
    this.#success = totals.success
    this.#failure = totals.failure
  }

  add(isFailure: boolean, size: number): void {
    this.#failed.push(isFailure)
    if (isFailure) this.#failures++
    while (this.#failed.length > size) if (this.#failed.shift()) this.#failures--
  }

  /** Why they trip; `undefined` if they don't. */
  trips({ minimumCalls, threshold }: CircuitBreaker.TripPolicy & { readonly _tag: "Rate" }): string | undefined {
    const [calls, failures] = [this.#failed.length, this.#failures]
    return calls >= minimumCalls && failures > 0 && failures / calls >= threshold
      ? `${failures} of the last ${calls} calls failed`
      : undefined
  }
}

/** The first of the reported outcomes that trips the circuit, and why. */
export const firstTrip = (
  outcomes: ReadonlyArray<Outcome>,
  { streak, totals }: Counted,
  lastCalls: LastCalls
): { readonly index: number; readonly reason: string } | undefined => {
  const size = Math.max(0, ...outcomes.map(({ tripPolicy }) => tripPolicy._tag === "Rate" ? tripPolicy.size : 0))
  if (totals !== undefined) lastCalls.addOthers(totals, outcomes, size)
  // Either all are failures, and the streak ends with them, or a success comes first, and begins a new one.
  let run = outcomes[0]?.isFailure === true ? streak - outcomes.length : 0
  let first: { readonly index: number; readonly reason: string } | undefined
  for (const [index, { isFailure, tripPolicy }] of outcomes.entries()) {
    run = isFailure ? run + 1 : 0
    if (tripPolicy._tag === "Rate") lastCalls.add(isFailure, tripPolicy.size)
    const reason = tripPolicy._tag === "Rate"
      ? lastCalls.trips(tripPolicy)
      : run >= tripPolicy.failures
      ? `${run} consecutive failures`
      : undefined
    if (reason !== undefined) first ??= { index, reason }
  }
  return first
}
