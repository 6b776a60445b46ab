import { assert, describe, it } from "@effect/vitest"
import { Effect, Result, Stream } from "effect"
import { noDelta } from "../../src/core/Delta.ts"
import { snapshot } from "../../src/core/Record.ts"
import * as Storage from "../../src/Storage.ts"
import { failures, forced, opening, why } from "../core/circuit.ts"

const closed = (withins: ReadonlyArray<number> = []) => snapshot(undefined, withins, 0, Infinity)

const test = (name: string, body: (storage: Storage.Storage) => Effect.Effect<void, unknown>) =>
  it.effect(name, () => Effect.provide(Storage.Storage.use(body), Storage.NullStorageLive))

describe("the null storage", () => {
  test("the null storage has no capabilities", ({ backend, capabilities }) =>
    Effect.sync(() => {
      assert.strictEqual(backend, "null")
      assert.deepStrictEqual(capabilities, {
        shared: false,
        durable: false,
        pushes: false,
        history: false,
        fences: false
      })
    }))

  test("the null storage answers Counted to every report, in their order, with an empty snapshot", (storage) =>
    Effect.gen(function*() {
      const reports = [["b", failures(9), 7], ["a", failures(1), 0], ["b", noDelta, 0]] as const
      const synced = yield* storage.sync(reports.map(([circuit, delta, generation], sequence) => ({
        circuit,
        instance: "i",
        sequence,
        generation,
        delta,
        withins: [1000, 30_000]
      })))
      assert.deepStrictEqual(synced.map(({ circuit }) => circuit), ["b", "a", "b"])
      for (const { result } of synced) {
        assert.deepStrictEqual(result, Result.succeed({ reported: "Counted", snapshot: closed([1000, 30_000]) }))
      }
      assert.deepStrictEqual(yield* storage.sync([]), [])
    }))

  test("the null storage commits no change and grants no probe", (storage) =>
    Effect.gen(function*() {
      const refused = { committed: false, snapshot: closed() }
      const trip = { _tag: "Trip", generation: 0, asOf: 0, maxAge: 1, opening, why } as const
      assert.deepStrictEqual(yield* storage.change("a", trip), refused)
      const known = { ...closed(), generation: 5 }
      assert.deepStrictEqual(
        yield* storage.change("a", { _tag: "PutBack", snapshot: known, age: 0, leases: [] }),
        refused
      )
      const lease = { instance: "i", sequence: 1 }
      const denied = { granted: false, snapshot: closed() }
      assert.deepStrictEqual(
        yield* storage.probe("a", { _tag: "Ask", lease, generation: 0, duration: 1, probes: 1 }),
        denied
      )
      assert.deepStrictEqual(
        yield* storage.probe("a", { _tag: "Settle", lease, generation: 0, outcome: { _tag: "Ignored" } }),
        denied
      )
    }))

  test("the null storage denies every operation", (storage) =>
    Effect.gen(function*() {
      const to = { _tag: "Override", ...forced } as const
      const error = yield* Effect.flip(storage.change("a", { _tag: "Operation", id: "x", known: 0, why, to }))
      assert.instanceOf(error, Storage.StorageError)
      assert.deepStrictEqual([error.reason, error.operation, error.circuit], ["Denied", "change", "a"])
    }))

  test("the null storage has no list, no history and no changes", (storage) =>
    Effect.gen(function*() {
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
      assert.deepStrictEqual(yield* Stream.runCollect(storage.changes), [])
      assert.deepStrictEqual(yield* storage.history("a"), [])
    }))
})
