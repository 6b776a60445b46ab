/**
 * Whether breakers enforce their policies, for a whole program or for one effect.
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type { Fiber } from "effect/Fiber"
import { shown } from "./internal/Check.ts"
import { once, truthOf } from "./internal/ConfigWords.ts"
import { logged } from "./internal/Log.ts"
import { messages } from "./internal/Messages.ts"

/**
 * - `enforce`: breakers enforce their policies.
 * - `metricsOnly`: every call runs, within its timeout, and is recorded. A circuit that would have opened publishes a
 *   transition from `Closed` to `Closed`.
 * - `bypass`: every call runs without the breaker, and is not recorded.
 *
 * The mode applies to calls of this process. Use an override for the whole fleet, and the policy's `enforcement` for a breaker that
 * starts as `metricsOnly` wherever it runs.
 *
 * @category models
 * @since 0.1.0
 */
export type EnforcementMode = "enforce" | "metricsOnly" | "bypass"

/**
 * The enforcement mode of the effects that it is provided to.
 *
 * Where it is not provided, a breaker enforces, or bypasses if `CIRCUIT_BREAKER_ENABLED` was false when the breaker was made. The
 * `ConfigProvider` is asked for it, by default the environment. `true`, `yes`, `on`, `y` and `1` are true, `false`, `no`, `off`,
 * `n` and `0` are false, in any case and with spaces around. Any other value means `enforce`, and is logged at `Warn`.
 *
 * A mode other than `enforce` is logged at `Warn`, once for each `ConfigProvider`, when the first breaker is made.
 *
 * @category references
 * @since 0.1.0
 */
export const Enforcement: Context.Reference<EnforcementMode> = Context.Reference<EnforcementMode>(
  "effect-breaker/Breaker/Enforcement",
  { defaultValue: () => "enforce" }
)

const VARIABLE = "CIRCUIT_BREAKER_ENABLED"
/**
 * The mode of a breaker's calls that are given none. Logs once which mode is on, where that is not `enforce`.
 *
 * @internal
 */
export const enforcementByDefault: Effect.Effect<EnforcementMode> = Effect.gen(function*() {
  const provider = yield* ConfigProvider.ConfigProvider
  const given = yield* Enforcement
  const value = yield* Effect.match(Config.withDefault(Config.String(VARIABLE), "true"), {
    // A source that cannot be read says nothing.
    onFailure: String,
    onSuccess: (text) => text
  })
  const isEnabled = truthOf(value)
  const mode = isEnabled === false ? "bypass" : "enforce"
  if (isEnabled === undefined) {
    yield* once(provider, `unclear ${value}`, logged(messages.enforcementUnclear, { value: shown(value) }))
  }
  const source = given === "enforce" ? VARIABLE : "Breaker.Enforcement"
  const current = given === "enforce" ? mode : given
  if (current !== "enforce") {
    yield* once(provider, `${source} ${current}`, logged(messages.notEnforced, { mode: current, source }))
  }
  return mode
})

/**
 * Whether a mode of enforcement is provided to a fiber's calls.
 *
 * @internal
 */
export const isEnforcementGiven = ({ context }: Fiber<unknown, unknown>): boolean =>
  context.mapUnsafe.has(Enforcement.key)

/**
 * Runs an effect and everything it calls without breakers: no call is rejected or recorded, and no timeout or bulkhead
 * applies. Use it for health checks.
 *
 * @category combinators
 * @since 0.1.0
 */
export const bypass = <A, E, R>(self: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.provideService(self, Enforcement, "bypass")
