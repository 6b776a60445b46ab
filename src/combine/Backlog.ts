/**
 * What is still to be done for circuits, the newest of each: nobody waits for it, and what cannot be done now is kept until it
 * can be.
 */
import * as Effect from "effect/Effect"
import * as Latch from "effect/Latch"
import type * as Scope from "effect/Scope"
import { BATCH } from "./Carry.ts"

/** So many circuits may wait; then the oldest gives way, until it comes up again. */
export const MOST_WAITING = 100_000
/** Milliseconds before it is tried again. */
const PAUSE = 1000

export class Backlog<A> {
  /** How many gave way. */
  dropped = 0
  readonly #waiting = new Map<string, A>()
  readonly #latch = Latch.makeUnsafe(false)
  readonly #work: (batch: ReadonlyArray<readonly [circuit: string, A]>) => Effect.Effect<ReadonlySet<string>>

  /** `work` says for which circuits of a batch it is done. */
  constructor(work: (batch: ReadonlyArray<readonly [circuit: string, A]>) => Effect.Effect<ReadonlySet<string>>) {
    this.#work = work
  }

  /** How many circuits wait. */
  get size(): number {
    return this.#waiting.size
  }

  get(circuit: string): A | undefined {
    return this.#waiting.get(circuit)
  }

  has(circuit: string): boolean {
    return this.#waiting.has(circuit)
  }

  add(circuit: string, what: A): void {
    this.#waiting.delete(circuit)
    this.#waiting.set(circuit, what)
    if (this.#waiting.size > MOST_WAITING) {
      this.dropped++
      this.#waiting.delete(this.#waiting.keys().next().value!)
    }
    this.#latch.openUnsafe()
  }

  /** Works it off until the scope ends. With nothing to be done no timer is armed. */
  readonly run: Effect.Effect<void, never, Scope.Scope> = Effect.suspend(() =>
    Effect.asVoid(Effect.forkScoped(Effect.forever(Effect.andThen(this.#latch.await, this.#round))))
  )

  readonly #round: Effect.Effect<void> = Effect.suspend(() => {
    const batch = [...this.#waiting].slice(0, BATCH)
    return Effect.flatMap(this.#work(batch), (done) => {
      for (const [circuit, what] of batch) {
        // What came meanwhile is to be done, too.
        if (this.#waiting.get(circuit) !== what) continue
        this.#waiting.delete(circuit)
        // Behind the others, so that one that is never done holds up none.
        if (!done.has(circuit)) this.#waiting.set(circuit, what)
      }
      if (this.#waiting.size === 0) this.#latch.closeUnsafe()
      return batch.every(([circuit]) => done.has(circuit)) ? Effect.void : Effect.sleep(PAUSE)
    })
  })
}
