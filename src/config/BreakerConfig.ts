/**
 * The configuration of a process's breakers: one schema for a file (YAML, TOML, JSON) and for the environment.
 *
 * `layer` reads both. `layerFor` makes a breaker's class with what is configured for it, `layerStorage` the storage that is named.
 *
 * **Example** (From the environment)
 *
 * ```ts import.meta.vitest
 * import { ConfigProvider, Duration, Effect, Layer } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as BreakerConfig from "effect-breaker/config/BreakerConfig"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", {
 *   trip: Trip.consecutiveFailures(5),
 *   timeout: Breaker.unset<Duration.Input>()
 * }) {}
 *
 * const environment = ConfigProvider.fromEnvRecord({ PAYMENTS_FAILURE_THRESHOLD: "1", PAYMENTS_TIMEOUT: "2" })
 * const PaymentsLive = BreakerConfig.layerFor(Payments).pipe(
 *   Layer.provide(BreakerConfig.layerEnv),
 *   Layer.provide(Storage.MemoryStorageLive),
 *   Layer.provide(ConfigProvider.layer(environment))
 * )
 *
 * const program = Effect.gen(function*() {
 *   yield* Effect.ignore(Payments.wrap(Effect.fail("declined")))
 *   return yield* (yield* Payments).state
 * })
 *
 * await Effect.runPromise(Effect.provide(program, PaymentsLive)) // => "Open"
 * ```
 *
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as ConfigProvider from "effect/ConfigProvider"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import type { Breaker, KeyedBreaker, KeyedOptions, KeyedServiceClass, ServiceClass, ServicesOf } from "../Breaker.ts"
import { EnabledByFile } from "../Enforcement.ts"
import type { Data, Policy } from "../Policy.ts"
import type { Storage } from "../Storage/Storage.ts"
import { emptyDecoded } from "./internal/Decode.ts"
import { reportVariables } from "./internal/Environment.ts"
import { enabledIn, Live } from "./internal/Live.ts"
import { load } from "./internal/Load.ts"
import { BreakerConfigError } from "./internal/Problem.ts"

export { BreakerConfigError, type Problem } from "./internal/Problem.ts"

/**
 * The configuration of a process.
 *
 * - `service`: what file and environment say of a service, and in `from` which source gave each field.
 *
 * What counts for a breaker, the strongest first: an operator's override; the environment; the file's `services`; the class; the
 * file's `defaults`; `Breaker.Defaults`; the built-in defaults. Fields are merged one by one, `trip` as a whole.
 *
 * @category services
 * @since 0.1.0
 */
export class BreakerConfig extends Context.Service<BreakerConfig, {
  readonly service: (name: string) => Effect.Effect<{
    readonly data: Data & KeyedOptions
    readonly from: Readonly<Record<string, string>>
  }>
}>()("effect-breaker/config/BreakerConfig") {}

/**
 * The environment alone, by the `ConfigProvider`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEnv: Layer.Layer<BreakerConfig, BreakerConfigError> = Layer.effect(
  BreakerConfig,
  Effect.gen(function*() {
    const provider = yield* ConfigProvider.ConfigProvider
    const read = (services: Iterable<string>) =>
      load(provider, { source: "the environment", file: emptyDecoded, problems: [] }, services)
    return serviceOf(new Live(yield* read([]), provider, read))
  })
)

/** The service, and behind it what `layerFor` needs. */
interface Backed {
  readonly live: Live
}

const serviceOf = (live: Live): BreakerConfig["Service"] & Backed => ({ live, service: (name) => live.dataOf(name) })

const liveOf = (config: BreakerConfig["Service"]): Effect.Effect<Live> =>
  Effect.suspend(() => {
    const { live } = config as Partial<Backed>
    return live === undefined
      ? Effect.die(new Error("BreakerConfig must be made by the layers of effect-breaker/config/BreakerConfig"))
      : Effect.succeed(live)
  })

/** Any class of a breaker. */
type AnyClass =
  & Context.Key<any, Breaker<unknown> | KeyedBreaker<unknown>>
  & Pick<ServiceClass<any, string, Policy>, "policy" | "layerConfig">

const KEYED = "effect-breaker/KeyedBreaker/"
const SINGLE = "effect-breaker/Breaker/"

const classLayer = (service: AnyClass): Layer.Layer<any, any, any> => {
  const isKeyed = service.key.startsWith(KEYED)
  const of = { name: service.key.slice((isKeyed ? KEYED : SINGLE).length), isKeyed, policy: service.policy }
  return Layer.unwrap(Effect.gen(function*() {
    const live = yield* liveOf(yield* BreakerConfig)
    const policy = yield* live.policyOf(of)
    yield* reportVariables(live.provider, of.name)
    const enabled = enabledIn(live.loaded)
    const kept = Layer.effectDiscard(Effect.flatMap(service, (breaker) => live.keep({ ...of, breaker })))
    return Layer.provideMerge(kept, service.layerConfig(Config.succeed(policy) as never)).pipe(
      Layer.provide(Layer.succeed(
        EnabledByFile,
        enabled === undefined ? undefined : {
          enabled: enabled.value,
          source: enabled.at.source
        }
      )),
      // The policy was checked before, so what is refused now is a mistake of this library.
      Layer.orDie
    )
  }))
}

const layers = new WeakMap<object, Layer.Layer<any, any, any>>()

/**
 * The layer of a breaker's class, plain or keyed, with what is configured for it. It is the same layer each time that it is asked for,
 * as `Payments.layer` is.
 *
 * Config cannot make a call fail with an error that its type does not have. `timeout`, `half_open.timeout`, `max_concurrent`, and
 * `consistency` with `on_storage_error: fail` are problems where the class does not declare them; `Breaker.unset` declares one without
 * a value. Everything else may be set for any class.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerFor: {
  <Self, Name extends string, P extends Policy>(
    service: ServiceClass<Self, Name, P>
  ): Layer.Layer<Self, BreakerConfigError, Storage | BreakerConfig | ServicesOf<P>>
  <Self, Name extends string, P extends Policy>(
    service: KeyedServiceClass<Self, Name, P>
  ): Layer.Layer<Self, BreakerConfigError, Storage | BreakerConfig | ServicesOf<P>>
} = (service: object): Layer.Layer<any, any, any> => {
  let made = layers.get(service)
  if (made === undefined) layers.set(service, made = classLayer(service as AnyClass))
  return made
}
