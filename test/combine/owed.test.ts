import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import { Owed } from "../../src/combine/Owed.ts"
import { circuitOf, failures, ignored, reading } from "../../src/conformance/Law.ts"
import type * as Storage from "../../src/Storage/Storage.ts"
import { failing, Link, memory } from "../support/storages.ts"
import { settle } from "../utils.ts"

const report = (sequence: number, calls: number): Storage.CircuitReport => ({
  ...reading("c", "i"),
  sequence,
  delta: failures(calls)
})

const counted = (storage: Storage.Storage) =>
  Effect.map(circuitOf(storage, "c").read, ({ lifetime }) => lifetime.failure)

describe("what a storage is still to count", () => {
  it.effect("is counted once where it was counted already, and once where it was not", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      yield* storage.sync([report(1, 1)])
      const owed = new Owed("owed")
      for (const [sequence, calls] of [[1, 1], [2, 2], [3, 4], [4, 8]] as const) {
        owed.add(report(sequence, calls), sequence < 3, 0)
      }
      assert.deepStrictEqual([owed.has("c"), owed.circuits], [true, ["c"]])
      yield* owed.pay("c", storage)
      assert.isFalse(owed.has("c"))
      assert.strictEqual(yield* counted(storage), 15)
    }))

  it.effect("is kept where it cannot be told, under the same names", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const owed = new Owed("owed")
      owed.add(report(1, 1), true, 0)
      owed.add(report(2, 2), false, 0)
      // The second of them is counted, but nobody hears of it.
      let requests = 0
      link.fault((request) => ++requests === 2 ? Effect.andThen(request, failing("Deadline")(request)) : request)
      yield* Effect.flip(owed.pay("c", link.storage))
      owed.add(report(3, 4), false, 0)
      link.fault(undefined)
      yield* owed.pay("c", link.storage)
      assert.strictEqual(yield* counted(link.storage), 7)
    }))

  it.effect("is waited for while it is under way, so that nothing newer overtakes it", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const latch = yield* Latch.make()
      link.fault((request) => Effect.andThen(latch.await, request))
      const owed = new Owed("owed")
      owed.add(report(1, 1), true, 0)
      const first = yield* Effect.forkChild(owed.pay("c", link.storage), { startImmediately: true })
      assert.isTrue(owed.has("c"))
      const second = yield* Effect.forkChild(owed.pay("c", link.storage), { startImmediately: true })
      yield* settle
      assert.isUndefined(second.pollUnsafe())
      yield* latch.open
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      assert.isFalse(owed.has("c"))
      assert.strictEqual(link.reports.length, 1)
    }))

  it.effect("is as old as it is", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const owed = new Owed("owed")
      owed.add(report(1, 1), false, -5000)
      yield* owed.pay("c", storage)
      const { lifetime: { lastFailureAge } } = yield* circuitOf(storage, "c").read
      assert.strictEqual(lastFailureAge, 5000)
    }))

  it.effect("is nothing where nothing was told", () =>
    Effect.gen(function*() {
      const owed = new Owed("owed")
      owed.add(report(1, 0), true, 0)
      owed.add({ ...report(2, 0), delta: ignored(0) }, false, 0)
      yield* owed.pay("c", yield* memory)
      assert.isFalse(owed.has("c"))
    }))
})
