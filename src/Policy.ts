/**
 * The policy of a breaker. `Data` is plain data with a `Schema`, so it can come from JSON or from `Config`. `Policy`
 * adds the two parts that are not data: a `Schedule` for the open time, and `classify`.
 *
 * @since 0.1.0
 */
import * as Duration from "effect/Duration"
import * as Option from "effect/Option"
import * as Schema from "effect/Schema"
import * as SchemaGetter from "effect/SchemaGetter"
import { inWords } from "./internal/Check.ts"
import type * as PolicyModel from "./internal/PolicyModel.ts"
import { problems } from "./internal/ResolvedPolicy.ts"
import type { Trip } from "./internal/TripModel.ts"

export type { Classify, Consistency, HalfOpen, Policy, Sample, Throttle } from "./internal/PolicyModel.ts"

/**
 * The part of a policy that is plain data.
 *
 * @category models
 * @since 0.1.0
 */
export type Data = PolicyModel.Data

const validPolicy = Schema.makeFilter((policy: PolicyModel.Policy) => {
  const found = problems(policy)
  return found.length === 0 ? undefined : found.map(inWords).join("; ")
})

// Decodes to a `Duration`, and encodes every kind of `Duration.Input`.
const DurationInput = Schema.Union([Schema.DurationFromMillis, Schema.DurationFromString, Schema.Duration]).pipe(
  Schema.decodeTo(
    Schema.declare((input): input is Duration.Input => Option.isSome(Duration.fromInput(input as Duration.Input))),
    { decode: SchemaGetter.transform((duration) => duration), encode: SchemaGetter.transform(Duration.fromInputUnsafe) }
  )
)

// `Schema.Unknown` cannot be read from a `ConfigProvider`, which has texts. This can.
const Anything = Schema.declare((_: unknown): _ is unknown => true, {
  toCodecJson: () =>
    Schema.link<unknown>()(Schema.UndefinedOr(Schema.String), {
      decode: SchemaGetter.transform((text: unknown) => text),
      encode: SchemaGetter.transform(String)
    })
})

/** A struct that keeps unknown fields, so that the checks of the constructors can refuse them by name. */
const StructWithUnknown = <const Fields extends Schema.Struct.Fields>(fields: Fields): Schema.Struct<Fields> =>
  Schema.StructWithRest(Schema.Struct(fields), [
    Schema.Record(Schema.String.check(Schema.makeFilter((field: string) => !Object.hasOwn(fields, field))), Anything)
  ]) as unknown as Schema.Struct<Fields>

const WindowSchema = Schema.Union([
  StructWithUnknown({ _tag: Schema.tag("Within"), duration: DurationInput }),
  StructWithUnknown({ _tag: Schema.tag("LastCalls"), calls: Schema.Finite })
])

/**
 * @internal
 */
export const TripFromJson: Schema.Codec<Trip, unknown> = Schema.Union([
  StructWithUnknown({ _tag: Schema.tag("ConsecutiveFailures"), failures: Schema.Finite }),
  StructWithUnknown({ _tag: Schema.tag("Failures"), count: Schema.Finite, within: DurationInput }),
  StructWithUnknown({
    _tag: Schema.tag("FailureRate"),
    threshold: Schema.Finite,
    minimumCalls: Schema.Finite,
    window: WindowSchema
  }),
  StructWithUnknown({
    _tag: Schema.tag("SlowCallRate"),
    threshold: Schema.Finite,
    slowerThan: DurationInput,
    minimumCalls: Schema.Finite,
    window: WindowSchema
  }),
  StructWithUnknown({
    _tag: Schema.Literals(["Any", "All"]),
    policies: Schema.Array(Schema.suspend((): Schema.Codec<Trip, unknown> => TripFromJson))
  })
])

/**
 * The schema of a policy's data. A value out of range is refused with the field, the value and the range, as by the
 * constructors, and so is an unknown field, with the known one that is most like it.
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
export const Data: Schema.Codec<Data, unknown> = StructWithUnknown({
  trip: Schema.optional(TripFromJson),
  openFor: Schema.optional(DurationInput),
  maxOpenFor: Schema.optional(DurationInput),
  halfOpen: Schema.optional(StructWithUnknown({
    probes: Schema.optional(Schema.Finite),
    successes: Schema.optional(Schema.Finite),
    sample: Schema.optional(
      StructWithUnknown({ calls: Schema.optional(Schema.Finite), failureRate: Schema.optional(Schema.Finite) })
    ),
    lease: Schema.optional(DurationInput),
    timeout: Schema.optional(DurationInput),
    ramp: Schema.optional(DurationInput)
  })),
  throttle: Schema.optional(StructWithUnknown({
    k: Schema.optional(Schema.Finite),
    within: Schema.optional(DurationInput),
    minimumCalls: Schema.optional(Schema.Finite),
    max: Schema.optional(Schema.Finite)
  })),
  timeout: Schema.optional(DurationInput),
  maxConcurrent: Schema.optional(Schema.Finite),
  consistency: Schema.optional(
    Schema.Union([Schema.Literals(["local", "strict"]), StructWithUnknown({ maxAge: DurationInput })])
  ),
  evidence: Schema.optional(Schema.Literals(["pooled", "any"])),
  onStorageError: Schema.optional(Schema.Literals(["allow", "fail"])),
  enforcement: Schema.optional(Schema.Literals(["enforce", "metricsOnly"])),
  approachAt: Schema.optional(Schema.Union([Schema.Finite, Schema.Literal(false)])),
  syncEvery: Schema.optional(DurationInput),
  reports: Schema.optional(Schema.Literals(["quiet", "every interval"]))
}).check(validPolicy)
