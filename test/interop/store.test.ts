import { describe } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { build, sqlite } from "../sql/databases.ts"
import { files, memory } from "../support/storages.ts"
import { checkAll, realTime, testTime } from "./laws/law.ts"
import { laws, ownLaws, sharedLaws } from "./laws/store.ts"
import { subjectOn } from "./support.ts"

describe("the laws hold for Effect's store in memory", () => {
  checkAll(
    laws,
    testTime,
    Effect.map(
      Layer.build(Layer.fresh(CircuitBreaker.layerStoreMemory())),
      (context) => ({
        ...testTime,
        store: () => Effect.succeed(Context.get(context, CircuitBreaker.CircuitBreakerStore))
      })
    )
  )
})

describe("layerStore in memory", () => {
  checkAll([...laws, ...sharedLaws, ...ownLaws], testTime, subjectOn(testTime, memory))
})

describe("layerStore on files", () => {
  checkAll([...laws, ...sharedLaws, ...ownLaws], realTime, subjectOn(realTime, files))
})

describe("layerStore on SQLite", () => {
  checkAll([...laws, ...sharedLaws, ...ownLaws], realTime, subjectOn(realTime, build(sqlite.client())))
})
