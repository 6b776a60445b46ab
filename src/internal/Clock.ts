/** The clock that deadlines and ages are measured by: setting the wall clock does not move it. */
import * as Clock from "effect/Clock"
import * as Effect from "effect/Effect"
import type { LocalMillis } from "../core/Time.ts"

/** Monotonic milliseconds, with fractions. */
export const monotonicMillis = (clock: Clock.Clock): LocalMillis => Number(clock.monotonicTimeNanosUnsafe()) / 1e6

/** Monotonic milliseconds by the clock of the running fiber. */
export const monotonicNow: Effect.Effect<LocalMillis> = Clock.clockWith((clock) =>
  Effect.sync(() => monotonicMillis(clock))
)
