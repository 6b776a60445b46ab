/**
 * The configuration of a process's breakers: one schema for a file (YAML, TOML, JSON) and for the environment.
 *
 * `layer` reads both. `layerFor` makes a breaker's class with what is configured for it, `layerStorage` the storage that is named.
 *
 * ```yaml
 * circuit_breaker:
 *   enabled: true
 *   persistence: redis
 *   defaults:
 *     open_for: 30
 *   services:
 *     payments:
 *       failure_threshold: 5
 *       recovery_timeout: 60
 *       timeout: 2
 *     http:
 *       capacity: 1000
 * redis:
 *   url: redis://localhost:6379
 * ```
 *
 * **Details**
 *
 * A service's variables are its name in capitals, with `_` for what is neither a letter nor a digit, and the field:
 * `PAYMENTS_FAILURE_THRESHOLD`. A bare number is **seconds**, in a file and in the environment. A text such as `"250 millis"` has its
 * unit. See `docs/configuration.md` for all fields.
 *
 * A file may be up to 256 KiB. YAML needs the package `yaml`; TOML and JSON need none. The package has a JSON Schema for editors,
 * `effect-breaker/config.schema.json`.
 *
 * **Gotchas**
 *
 * - `timeout_seconds` is the time until an open circuit is tried again, another name of `open_for`. The timeout of calls is `timeout`.
 * - `enabled` and `persistence` are read at the start, and `layerStorage` is what reads `persistence` and `redis`.
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
import * as FileSystem from "effect/FileSystem"
import * as Layer from "effect/Layer"
import type * as Result from "effect/Result"
import type * as Schema from "effect/Schema"
import * as Stream from "effect/Stream"
import type { Breaker, KeyedBreaker, KeyedOptions, KeyedServiceClass, ServiceClass, ServicesOf } from "../Breaker.ts"
import { EnabledByConfig, Enforcement } from "../Enforcement.ts"
import { backgroundSleep } from "../internal/Clock.ts"
import { logged } from "../internal/Log.ts"
import { messages } from "../internal/Messages.ts"
import { StorageLive } from "../layers/StorageLive.ts"
import type { Data, Policy } from "../Policy.ts"
import type { Storage } from "../Storage/Storage.ts"
import { emptyDecoded } from "./internal/Decode.ts"
import { CONFIG_FILE, PERSISTENCE, readVariable, reportVariables } from "./internal/Environment.ts"
import * as FileSchema from "./internal/FileSchema.ts"
import { type Class, enabledIn, Live, type Loaded } from "./internal/Live.ts"
import { load } from "./internal/Load.ts"
import { type BreakerConfigError, inWords, pathOf, type Problem, sourceOf } from "./internal/Problem.ts"
import { readFile } from "./internal/ReadFile.ts"
import * as Reload from "./internal/Reload.ts"
import { signatureOf, watchFile } from "./internal/Watch.ts"

export { BreakerConfigError, type Problem } from "./internal/Problem.ts"

/**
 * The content of a configuration file, in the library's own names: `recovery_timeout` is `openFor`, and a number of seconds is a
 * `Duration`.
 *
 * @category models
 * @since 0.1.0
 */
export type File = FileSchema.File

/**
 * The schema of a configuration file. It decodes what a parser makes of YAML, TOML or JSON, and refuses unknown keys. The JSON Schema
 * of its encoded side is the one for editors.
 *
 * @category schemas
 * @since 0.1.0
 */
export const File: Schema.Codec<File, unknown> = FileSchema.File

/**
 * The configuration of a process.
 *
 * - `file`: what the file says; empty where there is none.
 * - `reload`: reads everything again, and changes the policy of every breaker of `layerFor` that it changes, as `Breaker.reconfigure`
 *   does. State, counts and open times stay. A field that is no longer set has the value of the class or its default again. It
 *   fails, and changes nothing, if anything is wrong. `reloads`: the results from now on, also those of `watch`.
 * - `service`: what file and environment say of a service, and in `from` which source gave each field. A variable that cannot be used
 *   is left out here; `layerFor` fails with it.
 *
 * The order of a breaker's settings, the strongest first: an operator's override; the environment; the file's `services`; the class; the
 * file's `defaults`; `Breaker.Defaults`; the built-in defaults. Fields are merged one by one, a trip policy as a whole.
 *
 * @category services
 * @since 0.1.0
 */
export class BreakerConfig extends Context.Service<BreakerConfig, {
  readonly file: Effect.Effect<File>
  readonly reload: Effect.Effect<Reloaded, BreakerConfigError>
  readonly reloads: Stream.Stream<Result.Result<Reloaded, BreakerConfigError>>
  readonly service: (name: string) => Effect.Effect<{
    readonly data: Data & KeyedOptions
    readonly from: Readonly<Record<string, string>>
  }>
}>()("effect-breaker/config/BreakerConfig") {}

/**
 * Where the configuration comes from.
 *
 * @category options
 * @since 0.1.0
 */
export interface Options {
  /**
   * Reloads when the file changes, until the layer's scope closes. A change is noticed at once, or within 5 seconds where the file system
   * tells of none, and the file is read once it has not changed for 200 milliseconds. What is then wrong is logged as an error, and all
   * policies stay as they are; a file that is deleted is wrong, too. The environment of a process does not change while it runs. The
   * watch does not keep the process alive. Default `false`.
   */
  readonly watch?: boolean | undefined
  /** The path of a file that ends with `.yaml`, `.yml`, `.toml` or `.json`. Default: `CIRCUIT_BREAKER_CONFIG`, else no file. */
  readonly file?: string | undefined
  /** Whether an unknown key is an error (`fail`, the default), or a line in the log at `Warn`. */
  readonly unknown?: "fail" | "warn" | undefined
}

// -----------------------------------------------------------------------------
// layers of the configuration
// -----------------------------------------------------------------------------

/**
 * A reload: the source that was read, and the circuits that have another policy now, with the fields that differ. A keyed
 * breaker is named by its own name.
 *
 * @category models
 * @since 0.1.0
 */
export type Reloaded = Reload.Reloaded

/** The service, and behind it what `layerFor` needs. */
interface Backed {
  readonly live: Live
}

const serviceOf = (live: Live, reload: Reload.Reload): BreakerConfig["Service"] & Backed => ({
  live,
  reload: reload.run,
  reloads: Stream.fromPubSub(reload.results),
  file: Effect.sync(() => FileSchema.toFile(live.loaded.file)),
  service: (name) => live.dataOf(name)
})

const liveOf = (config: BreakerConfig["Service"]): Effect.Effect<Live> =>
  Effect.suspend(() => {
    const { live } = config as Partial<Backed>
    return live === undefined
      ? Effect.die(new Error("BreakerConfig must be made by the layers of effect-breaker/config/BreakerConfig"))
      : Effect.succeed(live)
  })

type Read = Live["read"]

/** Reads the configuration for the first time, and says what it understood. */
const start = Effect.fnUntraced(function*(provider: ConfigProvider.ConfigProvider, read: Read) {
  const live = new Live(yield* read([]), provider, read)
  const { file, source, switches } = live.loaded
  const persistence = switches.persistence ?? file.persistence
  const enabled = enabledIn(live.loaded)
  yield* logged(messages.configRead, {
    source,
    enabled: enabled === undefined ? "true (the default)" : `${enabled.value} (${sourceOf(enabled.at)})`,
    persistence: persistence === undefined
      ? "memory (the default)"
      : `${persistence.value} (${sourceOf(persistence.at)})`,
    services: [...file.services.keys()].map((name) => pathOf([name])).join(", ")
  })
  return live
})

const ENVIRONMENT = "the environment"

/** A read that has no file. */
const readEnvironment =
  (provider: ConfigProvider.ConfigProvider, problems: ReadonlyArray<Problem>): Read => (services) =>
    load(provider, { source: ENVIRONMENT, file: emptyDecoded, problems }, services)

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
    const live = yield* start(provider, readEnvironment(provider, []))
    return serviceOf(live, yield* Reload.Reload.make(live))
  })
)

/** After this long the layers of a program are built, and a service without a breaker is a mistake. */
const UNUSED_AFTER = "10 seconds"

/**
 * A file and the environment. Fails with all that is wrong with both, each with its line.
 *
 * One line in the log at `Info` says what was read. A service of the file for which nobody built a breaker by `layerFor` within 10
 * seconds is logged at `Warn`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (
  options: Options = {}
): Layer.Layer<BreakerConfig, BreakerConfigError, FileSystem.FileSystem> =>
  Layer.effect(
    BreakerConfig,
    Effect.gen(function*() {
      const fileSystem = yield* FileSystem.FileSystem
      const provider = yield* ConfigProvider.ConfigProvider
      const problems: Array<Problem> = []
      const path = options.file ?? (yield* readVariable(provider, CONFIG_FILE, problems))?.value as string | undefined
      const read: Read = path === undefined
        ? readEnvironment(provider, problems)
        : Effect.fnUntraced(function*(services) {
          const { warnings, ...file } = yield* readFile(fileSystem, path.trim(), options.unknown ?? "fail")
          for (const problem of warnings) yield* logged(messages.configUnknown, { problem: inWords(problem) })
          return yield* load(provider, file, services)
        })
      const watched = options.watch === true ? path?.trim() : undefined
      const seen = watched === undefined ? "" : yield* signatureOf(fileSystem, watched)
      const live = yield* start(provider, read)
      const reload = yield* Reload.Reload.make(live)
      if (watched !== undefined) {
        yield* Effect.forkScoped(watchFile(fileSystem, watched, seen, reload.runInBackground))
      } else if (options.watch === true) yield* logged(messages.nothingToWatch, {})
      yield* Effect.forkScoped(Effect.andThen(backgroundSleep(UNUSED_AFTER), reportUnused(live)))
      return serviceOf(live, reload)
    })
  )

const reportUnused = (live: Live): Effect.Effect<void> =>
  Effect.suspend(() =>
    Effect.forEach(
      live.unused(),
      (problem) => logged(messages.configUnused, { problem: inWords(problem) }),
      { discard: true }
    )
  )

// -----------------------------------------------------------------------------
// layers by the configuration
// -----------------------------------------------------------------------------

/** Any class of a breaker. */
type AnyClass =
  & Context.Key<any, Breaker<unknown> | KeyedBreaker<unknown>>
  & Pick<ServiceClass<any, string, Policy>, "policy" | "layerConfig">

const KEYED = "effect-breaker/KeyedBreaker/"
const SINGLE = "effect-breaker/Breaker/"

const classOf = ({ key, policy }: AnyClass): Class => {
  const isKeyed = key.startsWith(KEYED)
  return { name: key.slice((isKeyed ? KEYED : SINGLE).length), isKeyed, policy }
}

const classLayer = (service: AnyClass): Layer.Layer<any, any, any> =>
  Layer.unwrap(Effect.gen(function*() {
    const live = yield* liveOf(yield* BreakerConfig)
    const own = classOf(service)
    const policy = yield* live.policyOf(own)
    yield* reportVariables(live.provider, own.name)
    const enabled = enabledIn(live.loaded)
    const said = enabled === undefined ? undefined : { enabled: enabled.value, source: sourceOf(enabled.at) }
    const kept = Layer.effectDiscard(Effect.flatMap(service, (breaker) => live.keep({ ...own, breaker })))
    return Layer.provideMerge(kept, service.layerConfig(Config.succeed(policy) as never)).pipe(
      Layer.provide(Layer.succeed(EnabledByConfig, said)),
      // The policy was checked before, so what is refused here is a mistake of this library.
      Layer.orDie
    )
  }))

/** Layers are memoised by identity, so that each class has one. */
const classLayers = new WeakMap<object, Layer.Layer<any, any, any>>()

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
  <Self, Name extends string, P extends Policy & KeyedOptions>(
    service: KeyedServiceClass<Self, Name, P>
  ): Layer.Layer<Self, BreakerConfigError, Storage | BreakerConfig | ServicesOf<P>>
} = (service: object): Layer.Layer<any, any, any> => {
  let made = classLayers.get(service)
  if (made === undefined) classLayers.set(service, made = classLayer(service as AnyClass))
  return made
}

/** The variables of a storage by what is configured; those that are not here are the environment's. */
const storageVariables = Effect.fnUntraced(
  function*({ file, switches }: Loaded, provider: ConfigProvider.ConfigProvider) {
    const persistence = (switches.persistence ?? file.persistence)?.value ?? "memory"
    const ignored: Array<Problem> = []
    const isSet = (name: string) => Effect.map(readVariable(provider, name, ignored), (at) => at !== undefined)
    const hasAddress = (yield* isSet("REDIS_URL")) || (yield* isSet("REDIS_HOST"))
    const hasPool = yield* isSet("REDIS_POOL_SIZE")
    const isUsed = persistence === "redis"
    if (!isUsed && file.redisUrl !== undefined) {
      yield* logged(messages.redisUnused, { source: sourceOf(file.redisUrl.at), persistence })
    }
    return {
      [PERSISTENCE]: persistence,
      ...(isUsed && !hasAddress && file.redisUrl !== undefined ? { REDIS_URL: file.redisUrl.value } : {}),
      ...(isUsed && !hasPool && file.redisPoolSize !== undefined
        ? { REDIS_POOL_SIZE: `${file.redisPoolSize.value}` }
        : {})
    }
  }
)

/**
 * The storage that `persistence` names, as `StorageLive` reads it from the environment: `CIRCUIT_BREAKER_PERSISTENCE` comes before the
 * file, and `REDIS_URL` or `REDIS_HOST` before `redis.url`. The other storages have their addresses from the environment only.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerStorage: Layer.Layer<Storage, BreakerConfigError | Config.ConfigError, BreakerConfig> = Layer.unwrap(
  Effect.gen(function*() {
    const live = yield* liveOf(yield* BreakerConfig)
    const variables = yield* storageVariables(live.loaded, live.provider)
    const provider = ConfigProvider.orElse(ConfigProvider.fromEnvRecord(variables), live.provider)
    return Layer.provide(StorageLive, ConfigProvider.layer(provider))
  })
)

/**
 * `Breaker.Enforcement` is `bypass` for all that is provided with this layer if `enabled` is false. The breakers of `layerFor` are
 * bypassed without it. It is for breakers that are made in another way.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerEnforcement: Layer.Layer<never, never, BreakerConfig> = Layer.unwrap(
  Effect.gen(function*() {
    const live = yield* liveOf(yield* BreakerConfig)
    return enabledIn(live.loaded)?.value === false ? Layer.succeed(Enforcement, "bypass") : Layer.empty
  })
)
