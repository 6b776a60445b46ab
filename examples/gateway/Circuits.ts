/** The storage of the gateway's circuits. */
import { ConfigProvider, Effect, Layer } from "effect"
import { Storage } from "../../src/index.ts"
import { StorageLive } from "../../src/layers/StorageLive.ts"
import { Journal } from "./Journal.ts"
import { Load, Orders, Search } from "./Shop.ts"

/** In a file, so that they outlive the gateway, or where CIRCUIT_BREAKER_PERSISTENCE says. */
const CircuitStorage = Layer.provide(
  StorageLive,
  ConfigProvider.layerAdd(ConfigProvider.fromUnknown({
    CIRCUIT_BREAKER_PERSISTENCE: "sqlite",
    SQLITE_FILE: ".circuit_breaker/gateway.sqlite"
  }))
)

const Told = Layer.effectDiscard(Effect.gen(function*() {
  const { backend } = yield* Storage.Storage
  yield* Journal.use(({ note }) => note(`Circuits are kept in ${backend}`))
}))

export const Circuits = Layer.mergeAll(Load.layer, Orders.layer, Search.layer, Told).pipe(Layer.provide(CircuitStorage))
