import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Fiber, Latch } from "effect"
import { TestClock } from "effect/testing"
import { PendingReports } from "../../src/combine/PendingReports.ts"
import { circuitOf, failures, ignored, reading } from "../../src/conformance/Law.ts"
import type * as Storage from "../../src/Storage/Storage.ts"
import { failing, Link, memory } from "../support/storages.ts"
import { untilQuiet } from "../utils.ts"

const report = (sequence: number, calls: number): Storage.CircuitReport => ({
  ...reading("c", "i"),
  sequence,
  delta: failures(calls)
})

const counted = (storage: Storage.Storage) =>
  Effect.map(circuitOf(storage, "c").read, ({ lifetime }) => lifetime.failure)

describe("pending reports of a storage", () => {
  it.effect("pending reports are counted once, whether or not the storage has counted them already", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      yield* storage.sync([report(1, 1)])
      const pending = new PendingReports("pending")
      for (const [sequence, calls] of [[1, 1], [2, 2], [3, 4], [4, 8]] as const) {
        pending.add(report(sequence, calls), sequence < 3, 0)
      }
      assert.deepStrictEqual([pending.has("c"), pending.circuits], [true, ["c"]])
      yield* pending.deliver("c", storage)
      assert.isFalse(pending.has("c"))
      assert.strictEqual(yield* counted(storage), 15)
    }))

  it.effect("pending reports keep their names when their delivery fails", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const pending = new PendingReports("pending")
      pending.add(report(1, 1), true, 0)
      pending.add(report(2, 2), false, 0)
      // The second of them is counted, but its answer is lost.
      let requests = 0
      link.fault((request) => ++requests === 2 ? Effect.andThen(request, failing("Deadline")(request)) : request)
      yield* Effect.flip(pending.deliver("c", link.storage))
      pending.add(report(3, 4), false, 0)
      link.fault(undefined)
      yield* pending.deliver("c", link.storage)
      assert.strictEqual(yield* counted(link.storage), 7)
    }))

  it.effect("pending reports make a second delivery wait for the first, so that newer reports do not overtake them", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const latch = yield* Latch.make()
      link.fault((request) => Effect.andThen(latch.await, request))
      const pending = new PendingReports("pending")
      pending.add(report(1, 1), true, 0)
      const first = yield* Effect.forkChild(pending.deliver("c", link.storage), { startImmediately: true })
      assert.isTrue(pending.has("c"))
      const second = yield* Effect.forkChild(pending.deliver("c", link.storage), { startImmediately: true })
      yield* untilQuiet
      assert.isUndefined(second.pollUnsafe())
      yield* latch.open
      yield* Fiber.join(first)
      yield* Fiber.join(second)
      assert.isFalse(pending.has("c"))
      assert.strictEqual(link.reports.length, 1)
    }))

  it.effect("pending reports are delivered with their age", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const pending = new PendingReports("pending")
      pending.add(report(1, 1), false, -5000)
      yield* pending.deliver("c", storage)
      const { lifetime: { lastFailureAge } } = yield* circuitOf(storage, "c").read
      assert.strictEqual(lastFailureAge, 5000)
    }))

  it.effect("a report that the storage may have counted and forgotten is given up, and one that was never sent is not (F9)", () =>
    Effect.gen(function*() {
      const storage = yield* memory
      const half = Duration.toMillis(storage.idleTimeToLive) / 2
      yield* storage.sync([report(1, 1)])
      const pending = new PendingReports("pending")
      pending.add(report(1, 1), true, 0)
      pending.add(report(2, 2), false, 0)
      yield* TestClock.adjust(half)
      pending.add(report(3, 4), true, half)
      yield* pending.deliver("c", storage)
      assert.isFalse(pending.has("c"))
      assert.strictEqual(yield* counted(storage), 1 + 2 + 4)
    }))

  it.effect("pending reports contain no reports without counts", () =>
    Effect.gen(function*() {
      const pending = new PendingReports("pending")
      pending.add(report(1, 0), true, 0)
      pending.add({ ...report(2, 0), delta: ignored(0) }, false, 0)
      yield* pending.deliver("c", yield* memory)
      assert.isFalse(pending.has("c"))
    }))
})
