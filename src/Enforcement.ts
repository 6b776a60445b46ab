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
import { ENABLED, once, truthOf } from "./internal/ConfigWords.ts"
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
 * `n` and `0` are false, in any case and with spaces around. Any other value means `enforce`, and is logged at `Warn`, because making
 * a breaker cannot fail. The layers of `BreakerConfig` refuse it.
 *
 * When the first breaker is made, one line says which mode is on and who said so: at `Warn` if it is not `enforce`, at `Info` if the
 * variable is set and means `enforce`. It is logged once for each `ConfigProvider`.
 *
 * @category references
 * @since 0.1.0
 */
export const Enforcement: Context.Reference<EnforcementMode> = Context.Reference<EnforcementMode>(
  "effect-breaker/Breaker/Enforcement",
  { defaultValue: () => "enforce" }
)

/** Whether breakers are enabled, and the name of the variable or file that says so. */
interface Said {
  readonly enabled: boolean
  readonly source: string
}

/**
 * The enforcement by configuration of the breakers that are made within, where `CIRCUIT_BREAKER_ENABLED` is not set. Default: nothing.
 *
 * @internal
 */
export const EnabledByConfig: Context.Reference<Said | undefined> = Context.Reference<Said | undefined>(
  "effect-breaker/Enforcement/EnabledByConfig",
  { defaultValue: () => undefined }
)

/**
 * The mode of a breaker's calls that are given none. Logs once what was understood, where somebody said something.
 *
 * @internal
 */
export const enforcementByDefault: Effect.Effect<EnforcementMode> = Effect.gen(function*() {
  const provider = yield* ConfigProvider.ConfigProvider
  const given = yield* Enforcement
  const file = yield* EnabledByConfig
  const variable = yield* Effect.match(Config.withDefault(Config.String(ENABLED), ""), {
    // A source that cannot be read says nothing.
    onFailure: String,
    onSuccess: (text) => text
  })
  const isSet = variable.trim() !== ""
  const enabled = isSet ? truthOf(variable) : file?.enabled
  if (isSet && enabled === undefined) {
    yield* once(provider, `unclear ${variable}`, logged(messages.enforcementUnclear, { value: shown(variable) }))
  }
  const mode = enabled === false ? "bypass" : "enforce"
  const said = isSet ? ENABLED : file?.source
  const source = given === "enforce" ? said : "Breaker.Enforcement"
  const current = given === "enforce" ? mode : given
  if (current !== "enforce") {
    yield* once(provider, `${source} ${current}`, logged(messages.notEnforced, { mode: current, source }))
  } else if (enabled !== undefined && source !== undefined) {
    yield* once(provider, `${source} ${current}`, logged(messages.enforced, { source }))
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
