/**
 * The errors that a breaker adds to a call's own. Each is in the type of a call only where it can happen.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import { isTagged } from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Outcome from "./Outcome.ts"

/**
 * The call was not run, because its circuit refused it. It counts as rejected, and for nothing else.
 *
 * The message says which of five situations it is, the reason, and `retryAfter`:
 *
 * - open: `state` is `Open`.
 * - half-open, and every place for a probe is taken: `state` is `HalfOpen`, and a place is free after `retryAfter` at the
 *   latest, because a probe that hangs loses its place.
 * - forced open by an operator: `state` is `ForcedOpen`.
 * - closed again and still ramping up: `state` is `HalfOpen`, and `ramping` is `true`.
 * - the circuit that keys share which found no room (`overflow: "shareOne"`) is in one of these: `overflow` is `true`.
 *
 * The other fields:
 *
 * - `retryAfter`: how long until a call may get through. It is computed when it is read and never negative. It is absent where
 *   no time is known, under an override.
 * - `reason`: why the circuit opened, or the operator's reason.
 * - `lastFailure`: the error of the last failure before it opened.
 * - `openedBy`: whose evidence opened it: this instance's own, the fleet's, or an operator's word.
 *
 * **Gotchas**
 *
 * One error is made for an opening and shared by all the calls it rejects, so its stack shows where the first of them was
 * rejected and not where this call was made.
 *
 * @category errors
 * @since 0.1.0
 */
export class BreakerOpenError
  extends Schema.TaggedError<BreakerOpenError>("effect-breaker/Breaker/BreakerOpenError")("BreakerOpenError", {
    circuit: Schema.String,
    state: Schema.Literals(["Open", "HalfOpen", "ForcedOpen"]),
    openedBy: Schema.Literals(["instance", "fleet", "override"]),
    ramping: Schema.optionalKey(Schema.Boolean),
    overflow: Schema.optionalKey(Schema.Boolean),
    retryAfter: Schema.optionalKey(Schema.DurationFromMillis),
    reason: Schema.optionalKey(Schema.String),
    lastFailure: Schema.optionalKey(Schema.Defect())
  }, { httpApiStatus: 503 })
{
  override get message(): string {
    const { overflow, reason, retryAfter } = this
    const of = overflow === true ? ", which all keys without a circuit of their own share," : ""
    const why = reason === undefined ? "" : `: ${reason}`
    const when = retryAfter === undefined ? "" : ` (retry after ${Math.ceil(Duration.toSeconds(retryAfter))} s)`
    return `Circuit "${this.circuit}"${of} ${this.#situation}${why}${when}`
  }

  get #situation(): string {
    if (this.ramping === true) return "has closed and admits only a growing share of the calls"
    switch (this.state) {
      case "Open":
        return "is open"
      case "HalfOpen":
        return "is half-open and has no free probe"
      case "ForcedOpen":
        return "is forced open by an operator"
    }
  }

  /** A rejection tells an outer breaker nothing about its own dependency. */
  get [Outcome.outcome](): Outcome.Outcome {
    return Outcome.ignored
  }
}

/**
 * The call took longer than the breaker's timeout, was interrupted, and its finalizers have run. It counts as a failure.
 *
 * @category errors
 * @since 0.1.0
 */
export class BreakerTimeoutError
  extends Schema.TaggedError<BreakerTimeoutError>("effect-breaker/Breaker/BreakerTimeoutError")("BreakerTimeoutError", {
    circuit: Schema.String,
    timeout: Schema.DurationFromMillis
  }, { httpApiStatus: 504 })
{
  override get message(): string {
    return `A call through circuit "${this.circuit}" timed out after ${Duration.toMillis(this.timeout)} ms`
  }
}

/**
 * The call was not run, because `maxConcurrent` others were running within their timeout. It counts as rejected, and for
 * nothing else.
 *
 * @category errors
 * @since 0.1.0
 */
export class BulkheadFullError
  extends Schema.TaggedError<BulkheadFullError>("effect-breaker/Breaker/BulkheadFullError")("BulkheadFullError", {
    circuit: Schema.String,
    maxConcurrent: Schema.Finite
  }, { httpApiStatus: 503 })
{
  override get message(): string {
    return `Circuit "${this.circuit}" is at its limit of ${this.maxConcurrent} concurrent calls`
  }

  /** A rejection tells an outer breaker nothing about its own dependency. */
  get [Outcome.outcome](): Outcome.Outcome {
    return Outcome.ignored
  }
}

/**
 * The errors that a breaker can add to a call's own, but for `StorageError`.
 *
 * @category errors
 * @since 0.1.0
 */
export type BreakerError = BreakerOpenError | BreakerTimeoutError | BulkheadFullError

/**
 * Whether an error came from a breaker and not from the call it guards. Use it to decide when to fall back.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRejection = <E>(error: E): error is Extract<E, BreakerError> =>
  isTagged(error, "BreakerOpenError") || isTagged(error, "BreakerTimeoutError") || isTagged(error, "BulkheadFullError")
