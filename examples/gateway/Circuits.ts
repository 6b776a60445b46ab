/** The gateway's circuits: how they are configured, and where they are kept. */
import { Config, ConfigProvider, Effect, Layer, Option, References, Result, Stream } from "effect"
import * as BreakerConfig from "../../src/config/BreakerConfig.ts"
import { Storage } from "../../src/index.ts"
import { StorageLive } from "../../src/layers/StorageLive.ts"
import { Journal } from "./Journal.ts"
import { Load, Offers, Orders, Search } from "./Shop.ts"

const withDefaults = (defaults: Record<string, string>) => ConfigProvider.layerAdd(ConfigProvider.fromUnknown(defaults))

/** In a file, so that they outlive the gateway, or where CIRCUIT_BREAKER_PERSISTENCE or the configuration says. */
const CircuitStorage = Layer.unwrap(
  BreakerConfig.BreakerConfig.use(({ file }) =>
    Effect.map(file, ({ circuit_breaker: breaker }) =>
      breaker?.persistence === undefined
        ? Layer.provide(StorageLive, withDefaults({ CIRCUIT_BREAKER_PERSISTENCE: "sqlite" }))
        : BreakerConfig.layerStorage)
  )
)

const Told = Layer.effectDiscard(Effect.gen(function*() {
  const { backend } = yield* Storage.Storage
  yield* Journal.use(({ note }) => note(`Circuits are kept in ${backend}`))
}))

/** Notes what a change of the file has changed, or what is wrong with it. */
const Reloads = Layer.effectDiscard(Effect.gen(function*() {
  const { reloads } = yield* BreakerConfig.BreakerConfig
  const { note } = yield* Journal
  const notes = Result.match({
    onSuccess: ({ circuits }: BreakerConfig.Reloaded) =>
      circuits.flatMap(({ changed, name }) =>
        changed.map(({ field, from, to }) => `${name}  ${field} ${from} -> ${to}`)
      ),
    onFailure: ({ message }: BreakerConfig.BreakerConfigError) => [message]
  })
  yield* Effect.forkScoped(Stream.runForEach(reloads, (result) => Effect.forEach(notes(result), note)))
}))

/** The file that CIRCUIT_BREAKER_CONFIG names, if it does, while it is edited, too. The screen has no place for log lines. */
const Configuration = Layer.provideMerge(
  Reloads,
  Layer.provide(
    Layer.unwrap(Effect.map(
      Config.option(Config.String("CIRCUIT_BREAKER_CONFIG")),
      (file) => BreakerConfig.layer({ watch: Option.isSome(file) })
    )),
    Layer.succeed(References.MinimumLogLevel, "Fatal")
  )
)

export const Circuits = Layer.mergeAll(
  BreakerConfig.layerFor(Load),
  BreakerConfig.layerFor(Orders),
  BreakerConfig.layerFor(Search),
  BreakerConfig.layerFor(Offers),
  Told
).pipe(
  Layer.provideMerge(CircuitStorage),
  Layer.provide(Configuration),
  Layer.provide(withDefaults({ SQLITE_FILE: ".circuit_breaker/gateway.sqlite" }))
)
