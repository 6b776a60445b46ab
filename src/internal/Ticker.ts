/**
 * A cached clock. `exact()` reads the clock; `now` may be up to one tick (250 ms to 1 s) old, so that a success need not read it.
 *
 * Invariant: while `fresh` is true, a timer runs that ends it with the tick. The first call after a tick starts the next timer, so
 * without calls there is none. A timer keeps no process alive.
 */
import type * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { LocalMillis } from "../core/Time.ts"
import { monotonicMillis, sleepInBackground } from "./Clock.ts"

/** With shorter ticks, the timers would cost more than reading the clock for each call. */
const SHORTEST_TICK_MILLIS = 250

export class Ticker {
  /** Whether `now` is good for another call. */
  fresh = false
  /** The time of the last reading. */
  now: LocalMillis
  /** The same in whole seconds: a small integer, which costs a circuit less memory than a fraction. */
  second = 0
  readonly #clock: Clock.Clock
  #periodMillis: number
  readonly #fork: (effect: Effect.Effect<void>) => unknown

  /** `fork` runs the timers, in the scope of the breaker. */
  constructor(clock: Clock.Clock, periodMillis: number, fork: (effect: Effect.Effect<void>) => unknown) {
    this.#clock = clock
    this.#periodMillis = periodMillis
    this.#fork = fork
    this.now = this.exact()
  }

  readonly #stale = Effect.sync(() => {
    this.fresh = false
  })

  /** Sets how long a tick is. The one that runs ends at once, because `now` may be too old for a shorter one. */
  setPeriod(periodMillis: number): void {
    this.#periodMillis = periodMillis
    this.fresh = false
  }

  /** Reads the clock. */
  exact(): LocalMillis {
    const now = monotonicMillis(this.#clock)
    this.second = Math.floor(now / 1000)
    return this.now = now
  }

  /** Reads the clock for all calls until the tick is over. */
  refresh(): LocalMillis {
    const now = this.exact()
    if (this.#periodMillis >= SHORTEST_TICK_MILLIS) {
      this.fresh = true
      const leftMillis = this.#periodMillis - now % this.#periodMillis
      this.#fork(Effect.ensuring(sleepInBackground(this.#clock, leftMillis), this.#stale))
    }
    return now
  }
}
