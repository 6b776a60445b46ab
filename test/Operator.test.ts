import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Fiber, Layer, Queue, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, failures } from "../src/conformance/Law.ts"
import * as Sqlite from "../src/layers/Sqlite.ts"
import * as Operator from "../src/Operator.ts"
import * as Null from "../src/Storage/Null.ts"
import * as Sql from "../src/Storage/Sql.ts"
import { Storage, StorageError } from "../src/Storage/Storage.ts"
import { operators } from "./support/operators.ts"
import { failing, files, hanging, Link, memory } from "./support/storages.ts"

const sqlite = Effect.map(
  Effect.orDie(Layer.build(Layer.fresh(Layer.provide(Sql.layer(), Sqlite.layer({ file: ":memory:" }))))),
  Context.get(Storage)
)

const on = (storage: Storage, options?: Operator.Options) =>
  Effect.provideService(Operator.make(options), Storage, storage)

describe("an operator", () => {
  operators([
    { name: "memory", empty: memory },
    { name: "files", empty: files },
    { name: "SQLite", empty: sqlite }
  ])

  it.effect("one circuit that cannot be read does not fail the others, whatever the filter", () =>
    Effect.gen(function*() {
      const of = yield* memory
      for (const name of ["a", "bad", "z"]) yield* circuitOf(of, name).open()
      const operator = yield* on({
        ...of,
        sync: (reports) =>
          Effect.map(of.sync(reports), (synced) =>
            synced.map(({ circuit, result }) => ({
              circuit,
              result: circuit === "bad"
                ? Result.fail(new StorageError({ operation: "sync", circuit, reason: "Invalid", cause: "?" }))
                : result
            })))
      })
      const entries = yield* Stream.runCollect(operator.list({ states: ["Open"] }))
      assert.deepStrictEqual(
        Object.fromEntries(entries.map(({ circuit, result }) => [circuit, Result.isSuccess(result)])),
        { a: true, bad: false, z: true }
      )
      assert.strictEqual((yield* Effect.flip(operator.get("bad"))).reason, "Invalid")
    }))

  it.effect("reads a hundred circuits per request, as they are consumed", () =>
    Effect.gen(function*() {
      const of = yield* memory
      for (let i = 0; i < 250; i++) yield* circuitOf(of, `c${i}`).report(failures(1))
      const link = new Link(of)
      const operator = yield* on(link.storage)
      assert.lengthOf(yield* Stream.runCollect(operator.list()), 250)
      assert.deepStrictEqual(link.sent, ["sync", "sync", "sync"])
      yield* Stream.runDrain(Stream.take(operator.list(), 10))
      assert.lengthOf(link.sent, 4)
      assert.deepStrictEqual(link.changes, [])
      assert.isTrue(link.reports.every(({ delta }) => delta.buckets.length === 0 && delta.lifetime.failure === 0))
    }))

  it.effect("asks once more for what was late, and not again and again for what does not come", () =>
    Effect.gen(function*() {
      const of = yield* memory
      for (let i = 0; i < 1000; i++) yield* circuitOf(of, `c${i}`).report(failures(1))
      const asked = new Map<string, number>()
      const late = new StorageError({ operation: "sync", reason: "Deadline", cause: "late" })
      const operator = yield* on({
        ...of,
        sync: (reports) =>
          Effect.map(of.sync(reports), (synced) =>
            synced.map(({ circuit, result }) => {
              const times = (asked.get(circuit) ?? 0) + 1
              asked.set(circuit, times)
              const isDown = circuit.endsWith("7")
              return { circuit, result: isDown || (circuit.endsWith("5") && times === 1) ? Result.fail(late) : result }
            }))
      })
      const entries = yield* Stream.runCollect(operator.list())
      const failed = entries.filter(({ result }) => Result.isFailure(result)).map(({ circuit }) => circuit)
      assert.deepStrictEqual(failed.toSorted(), [...asked.keys()].filter((circuit) => circuit.endsWith("7")).toSorted())
      const down = yield* on({
        ...of,
        sync: (reports) =>
          Effect.map(of.sync(reports), (synced) =>
            synced.map(({ circuit, result }) => {
              asked.set(circuit, (asked.get(circuit) ?? 0) + 1)
              return { circuit, result: circuit.endsWith("7") ? Result.fail(late) : result }
            }))
      })
      asked.clear()
      assert.lengthOf(yield* Stream.runCollect(down.list()), 1000)
      assert.strictEqual([...asked.values()].filter((times) => times > 1).length, 3 * 10)
    }))

  it.effect("a request ends at its deadline", () =>
    Effect.gen(function*() {
      const [link] = [new Link(yield* memory)]
      link.fault(hanging)
      const operator = yield* on(link.storage, { deadline: "3 seconds" })
      const fiber = yield* Effect.forkChild(Effect.flip(operator.get("a")))
      yield* TestClock.adjust("3 seconds")
      assert.deepInclude(yield* Fiber.join(fiber), { reason: "Deadline", circuit: "a" })
    }))

  it.effect("a watch goes on after an outage, and fails only where it cannot begin", () =>
    Effect.gen(function*() {
      const of = yield* memory
      yield* circuitOf(of, "a").open()
      const link = new Link(of, { pushes: false })
      const operator = yield* on(link.storage)
      const queue = yield* Queue.unbounded<Operator.Watched>()
      yield* Effect.forkChild(
        Stream.runForEach(operator.watch(), (element) => Queue.offer(queue, element))
      )
      assert.strictEqual((yield* Queue.take(queue))._tag, "Listed")
      link.fault(failing("Unavailable"))
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Queue.take(queue))._tag, "Unavailable")
      const error = yield* Effect.flip(Stream.runDrain(operator.watch()))
      assert.strictEqual(error.reason, "Unavailable")
      link.fault(undefined)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Queue.take(queue))._tag, "Listed")
    }))

  it.effect("refuses options that make no sense, and names the field", () =>
    Effect.gen(function*() {
      const operator = yield* on(yield* memory)
      const actor = "ann"
      assert.throws(() => Operator.make({ deadline: 0 }), RangeError, "deadline must be")
      assert.throws(() => operator.list({ states: ["open" as "Open"] }), RangeError, "states must be one of Closed")
      assert.throws(() => operator.history("a", { limit: 0 }), RangeError, "limit must be")
      assert.throws(() => operator.watch({ every: 1 }), RangeError, "every must be")
      assert.throws(() => operator.get("a", { withins: ["11 hours"] }), RangeError, "withins must be")
      assert.throws(() => operator.reset("a", { actor: "a\u001b[2J" }), RangeError, "actor must be")
      assert.throws(() => operator.reset("a", { actor, reason: "\n" }), RangeError, "reason must be")
      assert.throws(
        () => operator.override("a", { mode: "Open" as "ForcedOpen", reason: "x", actor }),
        RangeError,
        "mode must be"
      )
      assert.throws(
        () => operator.override("a", { mode: "Disabled", reason: "", actor }),
        RangeError,
        "reason must be"
      )
    }))

  it.effect("a storage that keeps no circuits refuses acts", () =>
    Effect.gen(function*() {
      const operator = yield* on(yield* Effect.map(Layer.build(Null.layer), Context.get(Storage)))
      const error = yield* Effect.flip(
        operator.override("a", { mode: "ForcedOpen", reason: "x", actor: "ann", create: true })
      )
      assert.deepStrictEqual([error.reason, error.cause], ["Denied", "the storage keeps no circuits"])
      assert.deepStrictEqual(yield* Stream.runCollect(operator.list()), [])
    }))
})
