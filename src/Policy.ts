/**
 * What a breaker goes by. `Data` is plain data with a `Schema`, so it can come from JSON or from `Config`; `Policy` adds what
 * cannot: a `Schedule` for the open time, and `classify`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Option from "effect/Option"
import type * as Schedule from "effect/Schedule"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { inWords } from "./internal/Check.ts"
import { problems } from "./internal/ResolvedPolicy.ts"
import type { Outcome } from "./Outcome.ts"
import type { Trip } from "./Trip.ts"

/**
 * How a call's exit is classified: an `Outcome`, or an effect of one.
 *
 * It is asked for every exit that is not interruption only. If it throws or dies, the outcome is `Ignored`, the defect is
 * reported at `References.UnhandledLogLevel`, and the call ends as it ended.
 *
 * @category models
 * @since 0.1.0
 */
export type Classify<A, E, R = never> = (exit: Exit.Exit<A, E>) => Outcome | Effect.Effect<Outcome, never, R>

/**
 * How an open circuit finds out whether its dependency is back. Counts are whole numbers of at least 1.
 *
 * @category models
 * @since 0.1.0
 */
export interface HalfOpen {
  /** How many calls may probe at once, of the whole fleet. Default 1. */
  readonly probes?: number | undefined
  /** How many probes, of whichever instances, must succeed before the circuit closes; one failure reopens it. Default 1. */
  readonly successes?: number | undefined
  /**
   * How long a probe may take before it counts as failed; the probe is interrupted and fails with `BreakerOpenError`. Where
   * its instance is gone, its place is given to another a second later. Default: the probe's timeout + 1 second, else 30
   * seconds.
   */
  readonly lease?: Duration.Input | undefined
  /** The timeout of a probe, in place of the policy's. Adds `BreakerTimeoutError` to the error type. */
  readonly timeout?: Duration.Input | undefined
  /** After closing, for this long a growing share of the calls is admitted, from a tenth up. Default: all at once. */
  readonly ramp?: Duration.Input | undefined
}

/**
 * What is agreed with the storage before a call runs, so that what other instances changed is known to it.
 *
 * - `local`: nothing. A change is known after one push or one `syncEvery`.
 * - `{ maxAge }`: a call loads the fleet's view first where the one at hand was asked for longer ago than this.
 * - `strict`: every call loads it, and returns once its outcome is recorded. A call that arrives after a trip was committed is
 *   rejected, as long as the storage answers and keeps what it acknowledged.
 *
 * Calls that wait together share a request. Each waits for an answer at most as long as the storage's deadline of 1 second,
 * and not at all once the storage is away, that is after two failed requests in a row.
 *
 * @category models
 * @since 0.1.0
 */
export type Consistency = "local" | "strict" | { readonly maxAge: Duration.Input }

/**
 * A policy as plain data: every field optional, and decodable from JSON, where durations are a number of milliseconds or a
 * text such as `"30 seconds"`.
 *
 * @category models
 * @since 0.1.0
 */
export interface Data {
  /** When a closed circuit opens. Default: 5 consecutive failures. */
  readonly trip?: Trip | undefined
  /** How long it stays open. Default 60 seconds, or `maxOpenFor` where that is shorter. */
  readonly openFor?: Duration.Input | undefined
  /** What neither a schedule nor a `retryAfter` hint can exceed. Default 1 hour, or `openFor` where that is longer. */
  readonly maxOpenFor?: Duration.Input | undefined
  readonly halfOpen?: HalfOpen | undefined
  /**
   * After this long the call is interrupted and fails with `BreakerTimeoutError`, once its finalizers have run. Default: none.
   */
  readonly timeout?: Duration.Input | undefined
  /** More calls than this at once fail with `BulkheadFullError`, which counts for nothing. Default: no limit. */
  readonly maxConcurrent?: number | undefined
  /** What a call agrees with other instances before it runs. Default `local`. */
  readonly consistency?: Consistency | undefined
  /**
   * Whose outcomes open the circuit for all: `pooled`, the outcomes of all instances together, once they trip for a
   * `syncEvery`; `any`, those of whichever instance trips, at once. An instance that trips by itself is open for its own calls
   * either way. Default: `pooled` on a storage that hosts share, else `any`; always `any` with `lastCalls`, which cannot be
   * pooled.
   */
  readonly evidence?: "pooled" | "any" | undefined
  /**
   * What a call does that would have to agree, by its `consistency`, and cannot: be decided on what is known here (`allow`, the
   * default), or `fail`, which adds `StorageError` to its errors. A call that has run never fails by it.
   */
  readonly onStorageError?: "allow" | "fail" | undefined
  /**
   * The interval in which the storage is told and asked, for all circuits in use that have the same one together; at least
   * 10 ms. Failures are told within 50 ms. Default 1 second.
   */
  readonly syncEvery?: Duration.Input | undefined
}

/**
 * A policy: `Data`, with two things that are not data.
 *
 * @category models
 * @since 0.1.0
 */
export interface Policy<R = any> extends Omit<Data, "openFor"> {
  /**
   * How long the circuit stays open: a duration, or a `Schedule` whose n-th delay is the n-th consecutive opening's. The last
   * delay repeats. The openings are forgotten once the circuit stayed closed as long as its last opening lasted.
   *
   * A schedule is stepped without waiting; one that is asynchronous or dies counts as 60 seconds, and is reported at
   * `References.UnhandledLogLevel`.
   */
  readonly openFor?: Duration.Input | Schedule.Schedule<unknown, number> | undefined
  /** How calls are classified where `wrapWith` says nothing else. Default: `Outcome.fromExit`. */
  readonly classify?: Classify<unknown, unknown, R> | undefined
}

const sensible = Schema.makeFilter((policy: Policy) => {
  const found = problems(policy)
  return found.length === 0 ? undefined : found.map(inWords).join("; ")
})

/**
 * A policy from wherever, checked as the constructors check it.
 *
 * @internal
 */
export const Sensible: Schema.Codec<Policy, Policy> = Schema.declare((_: unknown): _ is Policy => true).check(sensible)

// Decodes to a `Duration`, and encodes whatever may be written for one.
const DurationInput = Schema.Union([Schema.DurationFromMillis, Schema.DurationFromString, Schema.Duration]).pipe(
  Schema.decodeTo(
    Schema.declare((input): input is Duration.Input => Option.isSome(Duration.fromInput(input as Duration.Input))),
    { decode: SchemaGetter.transform((duration) => duration), encode: SchemaGetter.transform(Duration.fromInputUnsafe) }
  )
)

const WindowSchema = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("Within"), duration: DurationInput }),
  Schema.Struct({ _tag: Schema.tag("LastCalls"), calls: Schema.Finite })
])

/**
 * @internal
 */
export const TripFromJson: Schema.Codec<Trip, unknown> = Schema.Union([
  Schema.Struct({ _tag: Schema.tag("ConsecutiveFailures"), failures: Schema.Finite }),
  Schema.Struct({ _tag: Schema.tag("Failures"), count: Schema.Finite, within: DurationInput }),
  Schema.Struct({
    _tag: Schema.tag("FailureRate"),
    threshold: Schema.Finite,
    minimumCalls: Schema.Finite,
    window: WindowSchema
  }),
  Schema.Struct({
    _tag: Schema.tag("SlowCallRate"),
    threshold: Schema.Finite,
    slowerThan: DurationInput,
    minimumCalls: Schema.Finite,
    window: WindowSchema
  }),
  Schema.Struct({
    _tag: Schema.Literals(["Any", "All"]),
    policies: Schema.Array(Schema.suspend((): Schema.Codec<Trip, unknown> => TripFromJson))
  })
])

/**
 * The schema of a policy's data. Nonsense is refused with the field, the value and the range, as the constructors do.
 *
 * **Example** (A policy from JSON)
 *
 * ```ts import.meta.vitest
 * import { Schema } from "effect"
 * import { Breaker } from "effect-breaker"
 *
 * const policy = Schema.decodeUnknownSync(Breaker.Data)({
 *   trip: { _tag: "ConsecutiveFailures", failures: 3 },
 *   openFor: "10 seconds",
 *   timeout: 500
 * })
 *
 * Breaker.fingerprint(policy) === Breaker.fingerprint({ trip: policy.trip, openFor: 10_000, timeout: "500 millis" }) // => true
 * ```
 *
 * @category schemas
 * @since 0.1.0
 */
export const Data: Schema.Codec<Data, unknown> = Schema.Struct({
  trip: Schema.optional(TripFromJson),
  openFor: Schema.optional(DurationInput),
  maxOpenFor: Schema.optional(DurationInput),
  halfOpen: Schema.optional(Schema.Struct({
    probes: Schema.optional(Schema.Finite),
    successes: Schema.optional(Schema.Finite),
    lease: Schema.optional(DurationInput),
    timeout: Schema.optional(DurationInput),
    ramp: Schema.optional(DurationInput)
  })),
  timeout: Schema.optional(DurationInput),
  maxConcurrent: Schema.optional(Schema.Finite),
  consistency: Schema.optional(
    Schema.Union([Schema.Literals(["local", "strict"]), Schema.Struct({ maxAge: DurationInput })])
  ),
  evidence: Schema.optional(Schema.Literals(["pooled", "any"])),
  onStorageError: Schema.optional(Schema.Literals(["allow", "fail"])),
  syncEvery: Schema.optional(DurationInput)
}).check(sensible)
