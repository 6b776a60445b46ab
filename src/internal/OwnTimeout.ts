import { isTagged } from "effect/Predicate"

/** Whether an error is the timeout of this circuit, and not that of another breaker within the call. */
export const isTimeoutOf = (error: unknown, circuit: string): boolean =>
  isTagged(error, "BreakerTimeoutError") && "circuit" in error && error.circuit === circuit
