/**
 * The time that calls share while they flow: exact where it is asked for, else as fine as one tick, so that a success need not
 * read the clock.
 *
 * A tick is a timer that is armed by the first call after it and only ends the freshness of `now`: with no calls there is no
 * timer.
 */
import type * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type { LocalMillis } from "../core/Time.ts"

/** Ticks shorter than this would cost more than looking at the clock. */
const SHORTEST = 250

export class Ticker {
  /** Whether `now` is good for another call. */
  fresh = false
  /** Monotonic milliseconds. */
  now: LocalMillis
  /** The same in whole seconds, which cost a circuit less to keep. */
  second = 0
  readonly #clock: Clock.Clock
  readonly #period: number
  readonly #fork: (effect: Effect.Effect<void>) => unknown

  /** `fork` runs the timer in the scope of the breaker. */
  constructor(clock: Clock.Clock, period: number, fork: (effect: Effect.Effect<void>) => unknown) {
    this.#clock = clock
    this.#period = period
    this.#fork = fork
    this.now = this.exact()
  }

  readonly #stale = Effect.sync(() => {
    this.fresh = false
  })

  /** Looks at the clock. */
  exact(): LocalMillis {
    const now = Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
    this.second = Math.floor(now / 1000)
    return this.now = now
  }

  /** Looks at the clock for all calls until the tick is over. */
  refresh(): LocalMillis {
    const now = this.exact()
    if (this.#period >= SHORTEST) {
      this.fresh = true
      const left = this.#period - now % this.#period
      this.#fork(Effect.ensuring(this.#clock.sleep(Duration.millis(left)), this.#stale))
    }
    return now
  }
}
