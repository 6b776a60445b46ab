/**
 * The error of a refused call. It is made once for an opening and shared by all the calls that it refuses, because to make one
 * costs ten rejections. It is frozen: what a handler wrote into it, the handlers of all other calls would see. It has no stack: that
 * would be the stack of the first of these calls.
 */
import * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import { BreakerOpenError } from "../BreakerError.ts"
import type { Refusal } from "../core/Permit.ts"
import type { Plan } from "../core/Plan.ts"
import { type OpenedBy, overrideAt, retryAt, type State } from "../core/State.ts"
import type { LocalMillis } from "../core/Time.ts"
import { OVERFLOW_KEY } from "./CircuitName.ts"
import { withoutStack } from "./WithoutStack.ts"

/** The fields of a circuit that a rejection is made of. */
interface Source {
  readonly name: string
  readonly key: string | undefined
  readonly epoch: number
  readonly current: State
  readonly shared: Plan & { readonly ticker: { readonly exact: () => LocalMillis } }
  readonly lastFailure: unknown
  readonly refusalAt: (now: LocalMillis) => Refusal | undefined
  readonly shedsBecauseOf: () => OpenedBy
}

export type Rejection = Exit.Exit<never, BreakerOpenError>

export const rejectionOf = (circuit: Source, refusal: Refusal, now: LocalMillis): Rejection => {
  const { current: state, key, lastFailure, name, shared } = circuit
  const overflow = key === OVERFLOW_KEY ? { overflow: true } : {}
  if (refusal === "Throttled") {
    const error = withoutStack(() =>
      new BreakerOpenError({ circuit: name, state: refusal, openedBy: circuit.shedsBecauseOf(), ...overflow })
    )
    Object.freeze(error)
    return Exit.fail(error)
  }
  const isForced = refusal === "ForcedOpen"
  const reason = isForced ? overrideAt(state, now)?.reason : state.reason
  const error = withoutStack(() =>
    new BreakerOpenError({
      circuit: name,
      state: refusal === "Ramp" ? "HalfOpen" : refusal,
      openedBy: isForced ? "override" : state.openedBy,
      ...(refusal === "Ramp" ? { ramping: true } : {}),
      ...overflow,
      ...(reason === undefined ? {} : { reason }),
      ...(lastFailure === undefined || isForced ? {} : { lastFailure })
    })
  )
  if (!isForced) computeRetryAfter(error, circuit, retryAt(shared, state, now) ?? now)
  Object.freeze(error)
  return Exit.fail(error)
}

/**
 * Computes `retryAfter` whenever it is read, because the error is shared. In a later epoch the circuit may admit calls again;
 * where it does not, the time that was known when it refused holds.
 */
const computeRetryAfter = (error: BreakerOpenError, circuit: Source, comesBack: LocalMillis): void => {
  const { epoch } = circuit
  Object.defineProperty(error, "retryAfter", {
    enumerable: true,
    get: () => {
      const now = circuit.shared.ticker.exact()
      if (epoch !== circuit.epoch && circuit.refusalAt(now) === undefined) return Duration.zero
      const at = epoch === circuit.epoch ? retryAt(circuit.shared, circuit.current, now) ?? now : comesBack
      return Duration.millis(Math.max(0, at - now))
    }
  })
}
