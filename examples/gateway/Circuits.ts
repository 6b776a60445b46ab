/** The gateway's circuits: how they are configured, and where they are kept. */
import { ConfigProvider, Effect, Layer, References } from "effect"
import * as BreakerConfig from "../../src/config/BreakerConfig.ts"
import { Storage } from "../../src/index.ts"
import { StorageLive } from "../../src/layers/StorageLive.ts"
import { Journal } from "./Journal.ts"
import { Load, Orders, Search } from "./Shop.ts"

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

/** The file that CIRCUIT_BREAKER_CONFIG names, if it does. The screen has no place for a line that says what was read. */
const Configuration = Layer.provide(BreakerConfig.layer(), Layer.succeed(References.MinimumLogLevel, "Warn"))

export const Circuits = Layer.mergeAll(
  BreakerConfig.layerFor(Load),
  BreakerConfig.layerFor(Orders),
  BreakerConfig.layerFor(Search),
  Told
).pipe(
  Layer.provide(CircuitStorage),
  Layer.provide(Configuration),
  Layer.provide(withDefaults({ SQLITE_FILE: ".circuit_breaker/gateway.sqlite" }))
)
