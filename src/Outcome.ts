/**
 * What a call's end says about the dependency: `Success`, `Failure`, or `Ignored` when it says nothing.
 *
 * What is not a failure is not thereby a success: an ignored outcome neither resets a streak of failures nor closes a
 * half-open circuit. Use `ignored` for errors that are the caller's own (a bad request, a validation error).
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import { hasProperty, isTagged } from "effect/Predicate"

/**
 * A classified end of a call. `retryAfter` on a failure is a hint, such as an HTTP `Retry-After`: it can only lengthen the
 * open time, and only up to the policy's `maxOpenFor`.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Success" }
  | { readonly _tag: "Ignored" }
  | { readonly _tag: "Failure"; readonly retryAfter?: Duration.Input | undefined }

/**
 * The dependency is healthy: resets a streak of failures, counts towards closing a half-open circuit.
 *
 * @category constructors
 * @since 0.1.0
 */
export const success: Outcome = { _tag: "Success" }

/**
 * The call says nothing about the dependency: counted, and otherwise as if it had not been made.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ignored: Outcome = { _tag: "Ignored" }

/**
 * The call counts against the dependency.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failure = (options?: { readonly retryAfter?: Duration.Input | undefined }): Outcome => ({
  _tag: "Failure",
  retryAfter: options?.retryAfter
})

/**
 * The property under which an error can carry its own outcome, honoured wherever no `classify` is given.
 *
 * **Example** (An error that does not count)
 *
 * ```ts import.meta.vitest
 * import { Data, Exit } from "effect"
 * import { Outcome } from "effect-breaker"
 *
 * class NotFound extends Data.TaggedError("NotFound") {
 *   readonly [Outcome.outcome] = Outcome.ignored
 * }
 *
 * Outcome.fromExit(Exit.fail(new NotFound())) // => Outcome.ignored
 * ```
 *
 * @category symbols
 * @since 0.1.0
 */
export const outcome: "~effect-breaker/Outcome" = "~effect-breaker/Outcome"

const plainFailure = failure()

const outcomeOf = (error: unknown): Outcome => {
  try {
    const own = hasProperty(error, outcome) ? error[outcome] : undefined
    return isOutcome(own) ? own : plainFailure
  } catch {
    // A getter that throws must not cost the call its own error.
    return plainFailure
  }
}

/**
 * Whether a value is an outcome.
 *
 * @category guards
 * @since 0.1.0
 */
export const isOutcome = (value: unknown): value is Outcome =>
  isTagged(value, "Success") || isTagged(value, "Failure") || isTagged(value, "Ignored")

/**
 * How an exit is classified where nobody says otherwise: a success is a `Success`; an exit that is only interruption is
 * `Ignored`; an error that carries its own outcome under `Outcome.outcome` is that, as a rejection by another breaker is
 * `Ignored`; every other failure, a defect included, is a `Failure`, also when an interruption came with it.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromExit = (exit: Exit.Exit<unknown, unknown>): Outcome =>
  Exit.isSuccess(exit) ? success : fromCause(exit.cause)

/**
 * `fromExit` for the cause of a failed call.
 *
 * @category constructors
 * @since 0.1.0
 */
export const fromCause = (cause: Cause.Cause<unknown>): Outcome => {
  let own: Outcome | undefined
  for (const reason of cause.reasons) {
    if (Cause.isInterruptReason(reason)) continue
    const error = Cause.isFailReason(reason) ? reason.error : reason.defect
    own = outcomeOf(error)
    if (own._tag === "Failure") return own
  }
  return own ?? ignored
}
