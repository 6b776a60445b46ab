/**
 * Trip policies say when a closed circuit opens. They are plain data, made by these constructors, which check their
 * arguments and throw a `RangeError` that names the field, the value and the range.
 *
 * Thresholds are reached at `>=`. A success can trip, too, when it completes the minimum of calls. A window without
 * failures (or without slow calls, for `slowCallRate`) never trips. Ignored outcomes and rejected calls are not
 * counted.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import type * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import { fieldsIn, type Problem, refuse } from "./internal/Check.ts"
import { rangeErrorsFail } from "./internal/ConfigErrors.ts"
import { problems } from "./internal/TripCheck.ts"
import type { Trip, Window } from "./internal/TripModel.ts"

export type { Trip, Window } from "./internal/TripModel.ts"

type WindowOption =
  | { readonly within: Duration.Input; readonly lastCalls?: undefined }
  | { readonly lastCalls: number; readonly within?: undefined }

/**
 * Trips after this many consecutive failures, in the order in which calls end. Only a success ends the streak. The
 * default of a breaker is 5 consecutive failures.
 *
 * @category constructors
 * @since 0.1.0
 */
export const consecutiveFailures = (failures: number): Trip => checked({ _tag: "ConsecutiveFailures", failures })

/**
 * Trips at this many failures within a span of time, however many calls succeed. The number does not scale with
 * traffic: prefer `failureRate` where traffic varies.
 *
 * @category constructors
 * @since 0.1.0
 */
export const failures = (options: { readonly count: number; readonly within: Duration.Input }): Trip => {
  refuse("Trip", fieldsIn("", options, ["count", "within"]))
  return checked({ _tag: "Failures", count: options.count, within: options.within })
}

/**
 * Trips when the share of failures, in `[0, 1]`, reaches `threshold`. The share is taken over the calls `within` a span
 * of time or over the `lastCalls`, once there are `minimumCalls` (default 10, or `lastCalls` if that is less).
 *
 * @category constructors
 * @since 0.1.0
 */
export const failureRate = (
  options: { readonly threshold: number; readonly minimumCalls?: number | undefined } & WindowOption
): Trip => {
  refuse("Trip", rateProblems(options, ["threshold"]))
  return checked({
    _tag: "FailureRate",
    threshold: options.threshold,
    minimumCalls: options.minimumCalls ?? defaultMinimum(options),
    window: windowFrom(options)
  })
}

/**
 * Trips when the share of calls that take `slowerThan` or longer, in `[0, 1]`, reaches `threshold`. A slow call counts
 * whether it succeeds or fails, and a slow probe reopens a half-open circuit even if it succeeded. Every call reads the
 * clock twice. A circuit counts slow calls once: all rules that `any` and `all` combine must have the same
 * `slowerThan`. With a `timeout` below `slowerThan` no call is ever slow: calls that time out are failures.
 *
 * @category constructors
 * @since 0.1.0
 */
export const slowCallRate = (
  options:
    & { readonly threshold: number; readonly slowerThan: Duration.Input; readonly minimumCalls?: number | undefined }
    & WindowOption
): Trip => {
  refuse("Trip", rateProblems(options, ["threshold", "slowerThan"]))
  return checked({
    _tag: "SlowCallRate",
    threshold: options.threshold,
    slowerThan: options.slowerThan,
    minimumCalls: options.minimumCalls ?? defaultMinimum(options),
    window: windowFrom(options)
  })
}

/**
 * Trips when at least one of the policies does. The reason is that of the first one that does.
 *
 * @category constructors
 * @since 0.1.0
 */
export const any = (...policies: readonly [Trip, Trip, ...Array<Trip>]): Trip => checked({ _tag: "Any", policies })

/**
 * Trips when all of the policies do at the same time.
 *
 * @category constructors
 * @since 0.1.0
 */
export const all = (...policies: readonly [Trip, Trip, ...Array<Trip>]): Trip => checked({ _tag: "All", policies })

/** Types allow one window and known fields. JavaScript allows anything. */
const rateProblems = (options: WindowOption, own: ReadonlyArray<string>): ReadonlyArray<Problem> => {
  const unknown = fieldsIn("", options, [...own, "minimumCalls", "within", "lastCalls"])
  if (unknown.length > 0) return unknown
  const { lastCalls, within } = options as { readonly lastCalls?: unknown; readonly within?: unknown }
  return lastCalls === undefined || within === undefined
    ? []
    : [{ field: "within", value: within, range: "left out, because lastCalls is given" }]
}

/**
 * A trip policy from config, by a constructor of this module. A value that it refuses is a `ConfigError` that names the field, the
 * value and the range. The function given to `Config.map` must not throw, so it is no place for a constructor.
 *
 * **Example** (A threshold from the environment)
 *
 * ```ts import.meta.vitest
 * import { Config, ConfigProvider, Effect } from "effect"
 * import { Trip } from "effect-breaker"
 *
 * const trip = Trip.fromConfig(Config.Int("FAILURES"), Trip.consecutiveFailures)
 *
 * await Effect.runPromise(trip.parse(ConfigProvider.fromUnknown({ FAILURES: "3" }))) // => Trip.consecutiveFailures(3)
 *
 * const error = await Effect.runPromise(Effect.flip(trip.parse(ConfigProvider.fromUnknown({ FAILURES: "0" }))))
 * error._tag // => "ConfigError"
 * ```
 *
 * @category config
 * @since 0.1.0
 */
export const fromConfig = <A>(config: Config.Config<A>, make: (value: A) => Trip): Config.Config<Trip> =>
  Config.mapEffect(config, (value) => rangeErrorsFail(Effect.sync(() => make(value))))

const defaultMinimum = (options: WindowOption): number => Math.min(10, options.lastCalls ?? 10)

const windowFrom = (options: WindowOption): Window =>
  options.lastCalls === undefined
    ? { _tag: "Within", duration: options.within }
    : { _tag: "LastCalls", calls: options.lastCalls }

const checked = (trip: Trip): Trip => {
  refuse(`Trip`, problems(trip, ""))
  return trip
}
