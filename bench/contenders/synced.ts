import { Effect, Layer } from "effect"
import { Breaker, Storage } from "../../src/index.ts"
import * as Memory from "../../src/Storage/Memory.ts"
import { build, type Contender, freshName } from "./contender.ts"
import { inScope, policy } from "./ours.ts"

/** How far away a storage of the fleet's is. */
const ROUND_TRIP = "1 millis"

const distant = Effect.map(Memory.make(), (memory): Storage.Storage => ({
  ...memory,
  backend: "distant",
  capabilities: { ...memory.capabilities, shared: true },
  sync: (reports) => Effect.delay(memory.sync(reports), ROUND_TRIP),
  change: (circuit, change) => Effect.delay(memory.change(circuit, change), ROUND_TRIP),
  probe: (circuit, probe) => Effect.delay(memory.probe(circuit, probe), ROUND_TRIP)
}))

const on = async (layer: Layer.Layer<Storage.Storage>): Promise<Contender> => {
  const run = Effect.runPromiseWith(await build(layer))
  return {
    single: async (spec, { effect }) => {
      const breaker = await run(inScope(Breaker.make(freshName(), policy(spec))))
      return {
        bare: () => run(effect),
        call: () => run(breaker.wrap(effect)),
        isOpen: async () => await run(breaker.state) === "Open"
      }
    }
  }
}

/** A breaker in hand, in step with a fleet. */
export const oursSynced = () => on(Layer.effect(Storage.Storage, distant))

/** The same on the memory of its process, in a process that has run as little besides. */
export const oursAlone = () => on(Storage.MemoryStorageLive)
