/**
 * The errors that a breaker adds to a call's own. Each is in the type of a call only where it can happen.
 *
 * Each is a schema, for an `HttpApi` or an `Rpc` that declares it. Clients see what it encodes, so that is nothing of the dependency's
 * errors and nothing that an operator wrote. `JSON.stringify`, `console.log` and loggers show the same fields.
 *
 * Each answers by itself where an `HttpRouter` meets it unhandled: 503 with `Retry-After`, or 504 for a timeout, as problem details
 * (RFC 9457). Effect's `ErrorReporter` leaves them out, because a rejection is no incident of its own.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { isTagged } from "effect/Predicate"
import * as Schema from "effect/Schema"
import { inWords } from "./internal/Check.ts"
import { answer, type HttpServerResponse, problem } from "./internal/Problem.ts"
import * as Outcome from "./Outcome.ts"
import type { StorageError } from "./Storage/Storage.ts"

/** The keys by which Effect finds how an error is answered, and whether it is reported. Their modules are not loaded for them. */
const respondable = "~effect/http/HttpServerRespondable"
const ignoredByReporters = "~effect/ErrorReporter/ignore"

/** The fields that are encoded. */
interface OpenFields {
  readonly circuit: string
  readonly state: "Open" | "HalfOpen" | "ForcedOpen" | "Throttled"
  readonly openedBy: "instance" | "fleet" | "override"
  readonly ramping?: boolean
  readonly overflow?: boolean
  readonly retryAfter?: Duration.Duration
}

interface KeptInProcess {
  readonly reason?: string
  readonly lastFailure?: unknown
}

/** Sets a field that no encoding, no JSON and no copy of the error shows. */
const keepInProcess = (error: Error, field: string, value: unknown): void => {
  if (value !== undefined) Object.defineProperty(error, field, { value, configurable: true })
}

/**
 * The call was not run, because its circuit refused it. It counts as rejected, and for nothing else.
 *
 * The message says which of six situations it is, why the circuit tripped, and `retryAfter`:
 *
 * - open: `state` is `Open`.
 * - half-open, and every place for a probe is taken: `state` is `HalfOpen`, and a place is free after `retryAfter` at the
 *   latest, because a probe that hangs loses its place.
 * - forced open by an operator: `state` is `ForcedOpen`.
 * - closed again and still ramping up: `state` is `HalfOpen`, and `ramping` is `true`.
 * - closed, and the policy's `throttle` sheds a share of the calls: `state` is `Throttled`. It has no `retryAfter`, because the next
 *   call may get through, and neither a `reason` nor a `lastFailure`: `shed` in the snapshot is the share.
 * - the circuit that keys share which found no room (`overflow: "shareOne"`) is in one of these: `overflow` is `true`.
 *
 * The other fields:
 *
 * - `retryAfter`: how long until a call may get through. It is computed when it is read and never negative. It is absent where
 *   no time is known, under an override and where calls are shed. Encoded, it is the milliseconds from the moment of encoding, and stays what it was.
 * - `openedBy`: whose evidence opened it, or has calls shed: this instance's own, the fleet's, or an operator's word.
 * - `reason`: why the circuit opened, or the operator's reason. It stays in the process.
 * - `lastFailure`: the error of the failure that opened it. Where the fleet's evidence opened it, the error of this instance's last
 *   failure, if that is no older than a minute and no success has come since. A keyed breaker keeps at most 1,000 such errors: beyond
 *   that, the circuit that has failed for longest has none. It stays in the process.
 *
 * **Gotchas**
 *
 * - One error is made for an opening and shared by all the calls it rejects, because making it costs more than ten rejections. It has
 *   no stack, because that would be the stack of the first of these calls.
 * - It is frozen: writing to it throws a `TypeError`, because all other calls would see what was written. To add what belongs to
 *   one call, such as the id of a request, make an error of your own with this one as its `cause`.
 * - A reporter that tells errors by their identity reports it once an opening.
 * - Neither `reason` nor `lastFailure` is encoded, enumerable or in JSON, because they may hold hosts, headers, credentials and what
 *   an operator wrote. A decoded error has neither. The message has the reason of a trip and never the operator's.
 *
 * @category errors
 * @since 0.1.0
 */
export class BreakerOpenError
  extends Schema.TaggedError<BreakerOpenError>("effect-breaker/Breaker/BreakerOpenError")("BreakerOpenError", {
    circuit: Schema.String,
    state: Schema.Literals(["Open", "HalfOpen", "ForcedOpen", "Throttled"]),
    openedBy: Schema.Literals(["instance", "fleet", "override"]),
    ramping: Schema.optionalKey(Schema.Boolean),
    overflow: Schema.optionalKey(Schema.Boolean),
    retryAfter: Schema.optionalKey(Schema.DurationFromMillis)
  }, { httpApiStatus: 503 })
{
  declare readonly reason?: string
  declare readonly lastFailure?: unknown

  // Decoding still works, because it passes its arguments on and needs no more than the schema's fields.
  // @effect-diagnostics-next-line overriddenSchemaConstructor:off
  constructor(fields: OpenFields & KeptInProcess, options?: Schema.MakeOptions) {
    super(fields, options)
    keepInProcess(this, "reason", fields.reason)
    keepInProcess(this, "lastFailure", fields.lastFailure)
  }

  override get [ignoredByReporters](): true {
    return true
  }

  [respondable](): Effect.Effect<HttpServerResponse> {
    return Effect.suspend(() => answer(problem("circuit_open", { retryAfter: this.retryAfter })))
  }

  override toJSON(): unknown {
    return Schema.encodeSync(BreakerOpenError)(this)
  }

  override get message(): string {
    const { overflow, reason, retryAfter, state } = this
    const of = overflow === true ? ", which all keys without a circuit of their own share," : ""
    // Messages reach clients, and an operator writes a reason for colleagues.
    const why = reason === undefined || state === "ForcedOpen" ? "" : `: ${reason}`
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
      case "Throttled":
        return "sheds a share of the calls, because too many of them fail"
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
  override get [ignoredByReporters](): true {
    return true
  }

  [respondable](): Effect.Effect<HttpServerResponse> {
    return Effect.suspend(() => answer(problem("timeout", { status: 504 })))
  }

  override toJSON(): unknown {
    return Schema.encodeSync(BreakerTimeoutError)(this)
  }

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
  override get [ignoredByReporters](): true {
    return true
  }

  [respondable](): Effect.Effect<HttpServerResponse> {
    return Effect.suspend(() => answer(problem("bulkhead_full", { retryAfter: Duration.seconds(1) })))
  }

  override toJSON(): unknown {
    return Schema.encodeSync(BulkheadFullError)(this)
  }

  override get message(): string {
    return `Circuit "${this.circuit}" is at its limit of ${this.maxConcurrent} concurrent calls`
  }

  /** A rejection tells an outer breaker nothing about its own dependency. */
  get [Outcome.outcome](): Outcome.Outcome {
    return Outcome.ignored
  }
}

/**
 * The policy of a breaker was not changed, because the new one makes no sense, its storage cannot serve it, or one of its fields makes
 * an error possible that the type of the breaker's calls does not have. `problems` has all that is wrong, each with the field, the
 * value and what is allowed. No call fails with it.
 *
 * @category errors
 * @since 0.1.0
 */
export class PolicyError extends Schema.TaggedError<PolicyError>("effect-breaker/Breaker/PolicyError")("PolicyError", {
  circuit: Schema.String,
  problems: Schema.Array(Schema.Struct({ field: Schema.String, got: Schema.Unknown, allowed: Schema.String }))
}) {
  override get message(): string {
    const problems = this.problems.map(({ allowed, field, got }) => inWords({ field, value: got, range: allowed }))
    return `Circuit ${JSON.stringify(this.circuit)} keeps its policy: ${problems.join("; ")}`
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
 * Whether a breaker gave the answer and not the call: `BreakerOpenError`, `BulkheadFullError` or `BreakerTimeoutError`. Use it to
 * fall back.
 *
 * **Gotchas**
 *
 * After a timeout the call was made. To repeat a call elsewhere, ask `isNotCalled`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isRejection = <E>(error: E): error is Extract<E, BreakerError> =>
  isTagged(error, "BreakerOpenError") || isTagged(error, "BulkheadFullError") || isTimeout(error)

/**
 * Whether the call was not made, so that the dependency saw nothing of it: `BreakerOpenError`, `BulkheadFullError`, or the
 * `StorageError` of a breaker with `onStorageError: "fail"`. Then it is safe to make the call elsewhere, or later.
 *
 * @category guards
 * @since 0.1.0
 */
export const isNotCalled = <E>(error: E): error is Extract<E, BreakerOpenError | BulkheadFullError | StorageError> =>
  isTagged(error, "BreakerOpenError") || isTagged(error, "BulkheadFullError") || isTagged(error, "StorageError")

/**
 * Whether the breaker's own timeout ended the call: `BreakerTimeoutError`. The call was made, and the dependency may have done what
 * it asked for.
 *
 * @category guards
 * @since 0.1.0
 */
export const isTimeout = <E>(error: E): error is Extract<E, BreakerTimeoutError> =>
  isTagged(error, "BreakerTimeoutError")

/**
 * Whether the error is any of those that a breaker adds: `isNotCalled` or `isTimeout`.
 *
 * @category guards
 * @since 0.1.0
 */
export const isBreakerError = <E>(error: E): error is Extract<E, BreakerError | StorageError> =>
  isNotCalled(error) || isTimeout(error)
