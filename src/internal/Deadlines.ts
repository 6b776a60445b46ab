/**
 * A queue of deadlines that are all equally far away when they are added. The first one added is the first one due, so one
 * sleeping fiber serves them all, and each costs a list node and no timer.
 *
 * Invariant: while the list is not empty, exactly one fiber sleeps until its first deadline or an earlier time.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { LocalMillis } from "../core/Time.ts"

/** Milliseconds are rounded fractions. A rest shorter than this is no time to sleep. */
const ROUNDING_MILLIS = 1e-3

export interface Deadline {
  readonly at: LocalMillis
  readonly due: () => void
  previous: Deadline | undefined
  next: Deadline | undefined
}

export class Deadlines {
  readonly millis: number
  readonly #now: () => LocalMillis
  readonly #clock: Clock.Clock
  readonly #fork: (effect: Effect.Effect<void>) => unknown
  #first: Deadline | undefined = undefined
  #last: Deadline | undefined = undefined
  #asleep = false

  constructor(
    millis: number,
    now: () => LocalMillis,
    clock: Clock.Clock,
    fork: (effect: Effect.Effect<void>) => unknown
  ) {
    this.millis = millis
    this.#now = now
    this.#clock = clock
    this.#fork = fork
  }

  /** Calls `due` after `millis`, unless it is removed before. */
  add(due: () => void): Deadline {
    const deadline: Deadline = { at: this.#now() + this.millis, due, previous: this.#last, next: undefined }
    if (this.#last === undefined) this.#first = deadline
    else this.#last.next = deadline
    this.#last = deadline
    if (!this.#asleep) {
      this.#asleep = true
      this.#fork(this.#sleep)
    }
    return deadline
  }

  /** Removes a deadline that is not due yet. Call it at most once for each. */
  remove({ next, previous }: Deadline): void {
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
  }

  // It sleeps on until the list is empty, so that a call which ends in time has no timer to clear.
  readonly #wake: Effect.Effect<void> = Effect.suspend(() => {
    const now = this.#now()
    while (this.#first !== undefined && this.#first.at - now < ROUNDING_MILLIS) {
      const deadline = this.#first
      this.remove(deadline)
      deadline.due()
    }
    if (this.#first === undefined) {
      this.#asleep = false
      return Effect.void
    }
    return Effect.andThen(this.#clock.sleep(Duration.millis(this.#first.at - now)), this.#wake)
  })

  // The breaker's scope interrupts it. A new fiber goes on for the calls that still run.
  readonly #sleep: Effect.Effect<void> = Effect.onInterrupt(this.#wake, () =>
    Effect.sync(() => {
      this.#asleep = this.#first !== undefined
      if (this.#asleep) this.#fork(this.#sleep)
    }))
}
