/** The clock that deadlines and ages are measured by: setting the wall clock does not move it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"

/** Monotonic milliseconds, with fractions. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Monotonic milliseconds by the clock of the running fiber. */
export const monotonicNow: Effect.Effect<number> = Clock.clockWith((clock) => Effect.sync(() => monotonicMillis(clock)))
