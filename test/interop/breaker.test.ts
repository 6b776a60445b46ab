import { describe } from "@effect/vitest"
import { Effect, Layer } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { Storage } from "../../src/index.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { memory } from "../support/storages.ts"
import * as BreakerLaws from "./laws/breaker.ts"
import * as HttpLaws from "./laws/http.ts"
import { checkAll, testTime } from "./laws/law.ts"
import { onStore, ours } from "./support.ts"

const laws = [...BreakerLaws.laws, ...HttpLaws.laws]

describe("the laws hold for Effect's breaker on its store in memory", () => {
  checkAll(laws, testTime, Effect.sync(() => onStore(testTime, CircuitBreaker.layerStoreMemory())))
})

describe("Effect's breaker on our memory storage", () => {
  const store = Layer.provide(EffectCircuitBreaker.layerStore(), Storage.MemoryStorageLive)
  checkAll(laws, testTime, Effect.sync(() => onStore(testTime, store)))
})

describe("our breaker as Effect's, in memory", () => {
  checkAll(laws, testTime, ours(testTime, memory))
})
