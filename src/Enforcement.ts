/**
 * Whether breakers enforce their policies, for a whole program or for one effect.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"

/**
 * - `enforce`: breakers enforce their policies.
 * - `metricsOnly`: every call runs, within its timeout, and is recorded. A circuit that would have opened publishes a
 *   transition from `Closed` to `Closed`.
 * - `bypass`: every call runs without the breaker, and is not recorded.
 *
 * The mode applies to calls of this process. Use an override for the whole fleet.
 *
 * @category models
 * @since 0.1.0
 */
export type EnforcementMode = "enforce" | "metricsOnly" | "bypass"

/**
 * The enforcement mode of the effects that it is provided to. Default `enforce`, or `bypass` if the environment has
 * `CIRCUIT_BREAKER_ENABLED=false` when the first call is made. A value that is not a boolean means `enforce`.
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
 * Runs an effect and everything it calls without breakers: no call is rejected or recorded, and no timeout or bulkhead
 * applies. Use it for health checks.
 *
 * @category combinators
 * @since 0.1.0
 */
export const bypass = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, Enforcement, "bypass")
