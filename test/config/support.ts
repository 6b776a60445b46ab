/** Configurations for tests: files in memory, variables in a record, and breakers of classes that the test makes. */
import { ConfigProvider, Effect, FileSystem, Layer, Stream } from "effect"
import * as BreakerConfig from "../../src/config/BreakerConfig.ts"
import type { Live } from "../../src/config/internal/Live.ts"
import { Breaker, Storage } from "../../src/index.ts"
import * as Registry from "../../src/Registry.ts"

const inMemory = (files: Readonly<Record<string, string>>) =>
  FileSystem.layerNoop({
    stat: () => Effect.succeed({ type: "File" } as FileSystem.File.Info),
    stream: (path) => Stream.make(new TextEncoder().encode(files[path] ?? ""))
  })

export interface Sources {
  /** By the ending of its name: `yaml`, `toml`, `json`. */
  readonly file?: readonly [ending: string, text: string] | undefined
  readonly environment?: Readonly<Record<string, string>> | undefined
  readonly unknown?: "fail" | "warn" | undefined
}

/** The layer of a configuration. The file's name is `breakers.` and its ending. */
export const configuration = ({ environment = {}, file, unknown }: Sources) => {
  const name = file === undefined ? undefined : `breakers.${file[0]}`
  return BreakerConfig.layer({ file: name, unknown }).pipe(
    Layer.provide(inMemory(name === undefined ? {} : { [name]: file![1] })),
    Layer.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(environment)))
  )
}

/** A class that declares every field, so that config may set each. */
export const classOf = (name: string, policy: Breaker.Policy = {}) => {
  class Made extends Breaker.Service<Made>()(name, { ...anything, ...policy }) {}
  return Made
}

export const keyedClassOf = (name: string, policy: Breaker.Policy & Breaker.KeyedOptions = {}) => {
  class Made extends Breaker.KeyedService<Made>()(name, { ...anything, ...policy }) {}
  return Made
}

const anything: Breaker.Policy = {
  timeout: undefined,
  maxConcurrent: undefined,
  halfOpen: { timeout: undefined },
  consistency: undefined,
  onStorageError: undefined
}

type AnyClass = ReturnType<typeof classOf> | ReturnType<typeof keyedClassOf>

/** The layer of a class. What the class requires does not matter here. */
export const layerFor = (service: AnyClass) =>
  BreakerConfig.layerFor(service as ReturnType<typeof classOf>) as Layer.Layer<
    never,
    BreakerConfig.BreakerConfigError,
    BreakerConfig.BreakerConfig | Storage.Storage
  >

/** The policy in force of a class in this configuration. */
export const policyOf = (
  service: AnyClass,
  sources: Sources,
  defaults: Breaker.Policy = {}
): Effect.Effect<Breaker.Policy & Breaker.KeyedOptions, BreakerConfig.BreakerConfigError> =>
  Effect.gen(function*() {
    const [entry] = yield* Registry.breakers
    const config = (yield* BreakerConfig.BreakerConfig) as unknown as { readonly live: Live }
    // The registry has the policy of the circuits, without the options of the breaker.
    const { name, breaker } = entry!
    const isKeyed = breaker._tag === "Keyed"
    const own = isKeyed ? yield* config.live.policyOf({ name, isKeyed, policy: service.policy }) : {}
    return { ...own, ...(yield* entry!.policy) }
  }).pipe(
    Effect.provide(layerFor(service)),
    Effect.provide(configuration(sources)),
    Effect.provide(Storage.MemoryStorageLive),
    Effect.provideService(Breaker.Defaults, defaults as {}),
    Effect.provide(Registry.layer)
  )

/** The message of a configuration that cannot be used. */
export const messageOf = (service: AnyClass, sources: Sources): Effect.Effect<string> =>
  Effect.match(policyOf(service, sources), {
    onSuccess: () => "no problem",
    onFailure: ({ message }) => message
  })
