/** The clock that deadlines and ages are measured by: setting the wall clock does not move it. */
import type * as Clock from "effect/Clock"

/** Monotonic milliseconds, with fractions. */
export const monotonicMillis = (clock: Clock.Clock): number => Number(clock.monotonicTimeNanosUnsafe()) / 1e6
