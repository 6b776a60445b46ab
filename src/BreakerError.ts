/**
 * The errors that a breaker adds to a call's own. Each is in the type of a call only where it can happen.
 *
 * @since 0.1.0
 */
import { isTagged } from "effect/Predicate"
import * as Schema from "effect/Schema"
import * as Outcome from "./Outcome.ts"

/**
 * The call was not run: its circuit is open, or half-open with no place for it, or forced open. Counts as rejected, and for
 * nothing else.
 *
 * - `retryAfter`: how long until a call may get through, computed when it is read, never negative; absent where nobody knows.
 * - `reason`: why the circuit opened, or what the operator said.
 * - `lastFailure`: the last failure before it opened.
 * - `openedBy`: on whose evidence: this instance's own, the fleet's, or an operator's word.
 *
 * **Gotchas**
 *
 * One error is made for an opening and shared by all the calls it rejects, so its stack is where the circuit opened, not
 * where the call was made.
 *
 * @category errors
 * @since 0.1.0
 */
export class BreakerOpenError
  extends Schema.TaggedError<BreakerOpenError>("effect-breaker/Breaker/BreakerOpenError")("BreakerOpenError", {
    circuit: Schema.String,
    state: Schema.Literals(["Open", "HalfOpen", "ForcedOpen"]),
    openedBy: Schema.Literals(["instance", "fleet", "override"]),
    retryAfter: Schema.optionalKey(Schema.DurationFromMillis),
    reason: Schema.optionalKey(Schema.String),
    lastFailure: Schema.optionalKey(Schema.Defect())
  }, { httpApiStatus: 503 })
{
  override get message(): string {
    return `Circuit "${this.circuit}" is open`
  }

  /** An outer breaker learns nothing of its own dependency from it. */
  get [Outcome.outcome](): Outcome.Outcome {
    return Outcome.ignored
  }
}

/**
 * The call took longer than the breaker's timeout, was interrupted, and its finalizers have run. Counts as a failure.
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
    return `A call through circuit "${this.circuit}" timed out`
  }
}

/**
 * The call was not run: `maxConcurrent` others were running. Counts for nothing.
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
    return `Circuit "${this.circuit}" runs as many calls at once as it may`
  }

  /** As `BreakerOpenError`'s. */
  get [Outcome.outcome](): Outcome.Outcome {
    return Outcome.ignored
  }
}

/**
 * All that a breaker can add to a call's errors, storage aside.
 *
 * @category errors
 * @since 0.1.0
 */
export type BreakerError = BreakerOpenError | BreakerTimeoutError | BulkheadFullError

/**
 * Whether an error came from a breaker and not from the call it guards: what a fallback is for.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRejection = <E>(error: E): error is Extract<E, BreakerError> =>
  isTagged(error, "BreakerOpenError") || isTagged(error, "BreakerTimeoutError") || isTagged(error, "BulkheadFullError")
