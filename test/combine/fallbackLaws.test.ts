import { describe, it } from "@effect/vitest"
import { Effect, Layer, Stream } from "effect"
import * as Storage from "../../src/Storage.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as MemoryStorage from "../../src/Storage/Memory.ts"
import type { Capabilities } from "../../src/Storage/Storage.ts"
import { memory } from "../Storage/broken.ts"
import { table } from "../Storage/table.ts"

type Options = Parameters<Conformance.Params["layer"]>[0]

const memoryLayer = (options: Options) => Layer.effect(Storage.Storage, MemoryStorage.make(options))

/** A storage whose requests all end with `how`. */
const away = (capabilities: Capabilities, how: Effect.Effect<never, Storage.StorageError>) => (options: Options) =>
  Layer.succeed(Storage.Storage, {
    backend: "away",
    capabilities,
    ...(capabilities.bells === true ? { bells: () => how } : {}),
    idleTimeToLive: options.idleTimeToLive,
    sync: () => how,
    change: () => how,
    probe: () => how,
    changes: Stream.die("bug"),
    list: Stream.die("bug"),
    history: () => how
  })

const gone = Effect.fail(new Storage.StorageError({ operation: "away", reason: "Unavailable", cause: "gone" }))

/** A chain has bells if all of its storages have. */
const ofChain: Conformance.Params = { ...memory, capabilities: { ...memory.capabilities, bells: false } }

const chains: Record<string, Conformance.Params> = {
  "of one storage": { ...table, layer: (options) => Storage.fallback([{ storage: table.layer(options) }]) },
  "whose first storage answers": {
    ...table,
    outage: undefined,
    layer: (options) => Storage.fallback([{ storage: table.layer(options) }, { storage: memoryLayer(options) }])
  },
  "whose first storage fails": {
    ...memory,
    layer: (options) =>
      Storage.fallback([{ storage: away(memory.capabilities, gone)(options) }, { storage: memoryLayer(options) }])
  },
  "whose first storage has no bells": {
    ...ofChain,
    layer: (options) =>
      Storage.fallback([{ storage: away(ofChain.capabilities, gone)(options) }, { storage: memoryLayer(options) }])
  },
  "whose first two storages die": {
    ...memory,
    layer: (options) =>
      Storage.fallback([
        { storage: away(memory.capabilities, Effect.die("bug"))(options) },
        { storage: away(memory.capabilities, Effect.sync((): never => undefined as never))(options) },
        { storage: memoryLayer(options) }
      ])
  }
}

for (const [name, params] of Object.entries(chains)) {
  describe(`a fallback chain ${name}`, () => {
    for (const law of Conformance.laws(params)) it.effect(law.name, () => law.check)
  })
}
