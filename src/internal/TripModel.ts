/** The model of trip policies, apart from their constructors, because the checks that the constructors call need it, too. */
import type * as Duration from "effect/Duration"

/**
 * The calls that a rate is computed over: those of a span of time (at most 10 hours), or the last ones (at most
 * 100,000).
 *
 * @category models
 * @since 0.1.0
 */
export type Window =
  | { readonly _tag: "Within"; readonly duration: Duration.Input }
  | { readonly _tag: "LastCalls"; readonly calls: number }

/**
 * A trip policy. Make one with the constructors of this module.
 *
 * @category models
 * @since 0.1.0
 */
export type Trip =
  | { readonly _tag: "ConsecutiveFailures"; readonly failures: number }
  | { readonly _tag: "Failures"; readonly count: number; readonly within: Duration.Input }
  | { readonly _tag: "FailureRate"; readonly threshold: number; readonly minimumCalls: number; readonly window: Window }
  | {
    readonly _tag: "SlowCallRate"
    readonly threshold: number
    readonly slowerThan: Duration.Input
    readonly minimumCalls: number
    readonly window: Window
  }
  | { readonly _tag: "Any" | "All"; readonly policies: ReadonlyArray<Trip> }
