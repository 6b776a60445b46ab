import { Effect, Layer } from "effect"
import { Storage } from "../../src/index.ts"
import * as Memory from "../../src/Storage/Memory.ts"
import { build } from "./contender.ts"

const ROUND_TRIP = "1 millis"

/** A storage of the fleet that is one round trip away. */
export const distant = () =>
  build(Layer.effect(
    Storage.Storage,
    Effect.map(Memory.make(), (memory): Storage.Storage => ({
      ...memory,
      backend: "distant",
      capabilities: { ...memory.capabilities, shared: true },
      sync: (reports) => Effect.delay(memory.sync(reports), ROUND_TRIP),
      change: (circuit, change) => Effect.delay(memory.change(circuit, change), ROUND_TRIP),
      probe: (circuit, probe) => Effect.delay(memory.probe(circuit, probe), ROUND_TRIP)
    }))
  ))
