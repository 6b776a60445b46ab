/**
 * The outcome of a call says how the dependency is: `Success`, `Failure`, or `Ignored` if the call says nothing about
 * it.
 *
 * An ignored outcome is not a success: it neither resets a streak of failures nor closes a half-open circuit. Use
 * `ignored` for errors that are the caller's own (a bad request, a validation error).
 *
 * **Gotchas**
 *
 * The `AbortError` of a request that the application's own `AbortSignal` ended is a `Failure` like any other error. `docs/recipes.md`
 * has a `classify` that ignores it.
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import type * as Duration from "effect/Duration"
import * as Exit from "effect/Exit"
import { hasProperty, isTagged } from "effect/Predicate"

/**
 * The outcome of a call. `retryAfter` is a hint, such as an HTTP `Retry-After`, bounded by the policy's `maxOpenFor`. On a failure
 * it can lengthen the open time. On an ignored outcome, such as a 429, it means nothing while the circuit is closed. After a
 * probe it means that no instance starts another one before the time is over.
 *
 * @category models
 * @since 0.1.0
 */
export type Outcome =
  | { readonly _tag: "Success" }
  | { readonly _tag: "Ignored"; readonly retryAfter?: Duration.Input | undefined }
  | { readonly _tag: "Failure"; readonly retryAfter?: Duration.Input | undefined }

/**
 * The dependency is healthy: a success resets a streak of failures, and counts towards closing a half-open circuit.
 *
 * @category constructors
 * @since 0.1.0
 */
export const success: Outcome = { _tag: "Success" }

/**
 * The call says nothing about the dependency. It is counted as ignored and has no other effect.
 *
 * @see {@link ignoredWith} for one with a `retryAfter`
 * @category constructors
 * @since 0.1.0
 */
export const ignored: Outcome = { _tag: "Ignored" }

/**
 * The call says nothing about the dependency but when to come back: after a probe, no instance starts another one before.
 *
 * @category constructors
 * @since 0.1.0
 */
export const ignoredWith = (options: { readonly retryAfter: Duration.Input | undefined }): Outcome => ({
  _tag: "Ignored",
  retryAfter: options.retryAfter
})

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
 * The property under which an error can carry its own outcome. It is used wherever no `classify` is given.
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
    return (hasProperty(error, outcome) ? read(error[outcome]) : undefined) ?? plainFailure
  } catch {
    // If the getter throws, the call must still fail with its own error.
    return plainFailure
  }
}

/**
 * The outcome that a value is, as one of our own, because a getter of the value may throw when it is read again; `undefined` where
 * it is none.
 *
 * @internal
 */
export const read = (value: unknown): Outcome | undefined => {
  if (isTagged(value, "Success")) return success
  if (isTagged(value, "Ignored")) {
    const { retryAfter } = value as { readonly retryAfter?: Duration.Input }
    return retryAfter === undefined ? ignored : ignoredWith({ retryAfter })
  }
  return isTagged(value, "Failure") ? failure(value as { readonly retryAfter?: Duration.Input }) : undefined
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
 * The default classification of an exit. A success is a `Success`. An exit that is only interruption is `Ignored`. An
 * error that carries an outcome under `Outcome.outcome` has that outcome; a rejection by another breaker, for example,
 * carries `Ignored`. Every other failure, including a defect, is a `Failure`, even if an interruption came with it.
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
