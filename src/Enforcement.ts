/**
 * Whether breakers do their work: for all of a program, or for one effect.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * - `enforce`: as the policy says.
 * - `metricsOnly`: every call runs, within its timeout, and is recorded, and where its circuit would have opened is told as a
 *   transition from `Closed` to `Closed`.
 * - `bypass`: every call runs unguarded and unrecorded.
 *
 * It is for calls of this process. What is to hold for the whole fleet is an override.
 *
 * @category models
 * @since 0.1.0
 */
export type EnforcementMode = "enforce" | "metricsOnly" | "bypass"

/**
 * What breakers do for the effects below. Default `enforce`, or `bypass` where the environment says
 * `CIRCUIT_BREAKER_ENABLED=false` when the first call is made; a value that is no boolean is `enforce`.
 *
 * @category references
 * @since 0.1.0
 */
export const Enforcement: Context.Reference<EnforcementMode> = Context.Reference<EnforcementMode>(
  "effect-breaker/Breaker/Enforcement",
  {
    defaultValue: () => {
      const enabled = Config.Boolean("CIRCUIT_BREAKER_ENABLED").pipe(
        Config.withDefault(true),
        Effect.orElseSucceed(() => true)
      )
      return Effect.runSync(enabled) ? "enforce" : "bypass"
    }
  }
)

/**
 * Runs an effect, and all that it calls, past every breaker: unguarded, unrecorded, with no timeout and no bulkhead. For
 * health checks.
 *
 * @category combinators
 * @since 0.1.0
 */
export const bypass = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, Enforcement, "bypass")
