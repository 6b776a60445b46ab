/**
 * Work that is to be done per circuit in the background, the newest for each. Work that fails now is retried until it
 * succeeds.
 *
 * Invariants
 *
 * - A circuit has at most one entry. An entry is removed when its work is done, unless a newer one has replaced it
 *   meanwhile.
 * - The latch is open while there are entries, so an empty queue has no timer.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { CIRCUITS_PER_REQUEST } from "../internal/Bounds.ts"

/**
 * The most circuits that wait. Beyond that the oldest entry is dropped; the circuit comes back with its next change.
 */
export const MOST_WAITING = 100_000
const RETRY_AFTER_MILLIS = 1000

type Batch<A> = ReadonlyArray<readonly [circuit: string, A]>

export class RetryQueue<A> {
  readonly #waiting = new Map<string, A>()
  readonly #latch = Latch.makeUnsafe(false)
  readonly #work: (batch: Batch<A>) => Effect.Effect<ReadonlySet<string>>

  /** `work` returns the circuits of a batch that are done. */
  constructor(work: (batch: Batch<A>) => Effect.Effect<ReadonlySet<string>>) {
    this.#work = work
  }

  get(circuit: string): A | undefined {
    return this.#waiting.get(circuit)
  }

  add(circuit: string, entry: A): void {
    this.#waiting.delete(circuit)
    this.#waiting.set(circuit, entry)
    if (this.#waiting.size > MOST_WAITING) this.#waiting.delete(this.#waiting.keys().next().value!)
    this.#latch.openUnsafe()
  }

  /** Works until the scope closes. */
  readonly run: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() =>
    Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.andThen(this.#latch.await, this.#round))))
  )

  readonly #round: Effect.Effect<void> = Effect.suspend(() => {
    const batch = [...this.#waiting].slice(0, CIRCUITS_PER_REQUEST)
    return Effect.flatMap(this.#work(batch), (done) => {
      // To the end of the queue, so that work which always fails delays no other. The first goes last, because a storage
      // that is skipped may be probed with the first alone.
      for (const [circuit, entry] of [...batch.slice(1), ...batch.slice(0, 1)]) {
        if (this.#waiting.get(circuit) !== entry) continue
        this.#waiting.delete(circuit)
        if (!done.has(circuit)) this.#waiting.set(circuit, entry)
      }
      if (this.#waiting.size === 0) this.#latch.closeUnsafe()
      return batch.every(([circuit]) => done.has(circuit)) ? Effect.void : Effect.sleep(RETRY_AFTER_MILLIS)
    })
  })
}
