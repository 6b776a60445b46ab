/**
 * A queue of deadlines that are all equally far away when they are added. The first one added is the first one due, so one
 * sleeping fiber serves them all, and each costs a list node and no timer.
 *
 * **Invariants**
 *
 * - While the list is not empty, exactly one fiber sleeps until its first deadline or an earlier time. It keeps the process alive.
 * - While the list is empty, that fiber may still sleep, because waking it would cost each call a timer. It keeps nothing alive.
 * - A sleep that has ended is believed, whatever the clock says, because a sleep for what the clock says is left could be endless.
 * - Under a test framework's timers each deadline has a timer of its own: how far they have moved cannot be read.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { LocalMillis } from "../core/Time.ts"
import { afterFakeMillis, hasFakeTimers, Sleeper } from "./Clock.ts"

/** Milliseconds are rounded fractions. A rest shorter than this is no time to sleep. */
const ROUNDING_MILLIS = 1e-3

export interface Deadline {
  readonly at: LocalMillis
  readonly due: () => void
  previous: Deadline | undefined
  next: Deadline | undefined
  /** How to cancel its own timer; `undefined` where it is in the list. */
  readonly cancel: (() => void) | undefined
}

export class Deadlines {
  readonly millis: number
  readonly #now: () => LocalMillis
  readonly #clock: Clock.Clock
  readonly #sleeper: Sleeper
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
    this.#sleeper = new Sleeper(clock)
    this.#fork = fork
  }

  /** Calls `due` after `millis`, unless it is removed before. */
  add(due: () => void): Deadline {
    const at = this.#now() + this.millis
    if (hasFakeTimers(this.#clock)) {
      return { at, due, previous: undefined, next: undefined, cancel: afterFakeMillis(this.millis, due) }
    }
    const deadline: Deadline = { at, due, previous: this.#last, next: undefined, cancel: undefined }
    if (this.#last === undefined) {
      this.#first = deadline
      this.#sleeper.keepAlive(true)
    } else this.#last.next = deadline
    this.#last = deadline
    if (!this.#asleep) {
      this.#asleep = true
      this.#fork(this.#sleep)
    }
    return deadline
  }

  /** Removes a deadline that is not due yet. Call it at most once for each. */
  remove({ cancel, next, previous }: Deadline): void {
    if (cancel !== undefined) return cancel()
    if (previous === undefined) this.#first = next
    else previous.next = next
    if (next === undefined) this.#last = previous
    else next.previous = previous
    if (this.#first === undefined) this.#sleeper.keepAlive(false)
  }

  // It sleeps on until the list is empty, so that a call which ends in time has no timer to clear.
  #wake(now: LocalMillis): Effect.Effect<void> {
    while (this.#first !== undefined && this.#first.at - now < ROUNDING_MILLIS) {
      const deadline = this.#first
      this.remove(deadline)
      deadline.due()
    }
    if (this.#first === undefined) {
      this.#asleep = false
      return Effect.void
    }
    const { at } = this.#first
    return Effect.flatMap(this.#sleeper.sleep(at - now), () => this.#wake(Math.max(at, this.#now())))
  }

  // The breaker's scope interrupts it. A new fiber goes on for the calls that still run.
  readonly #sleep: Effect.Effect<void> = Effect.onInterrupt(
    Effect.suspend(() => this.#wake(this.#now())),
    () =>
      Effect.sync(() => {
        this.#asleep = this.#first !== undefined
        if (this.#asleep) this.#fork(this.#sleep)
      })
  )
}
