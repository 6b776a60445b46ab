import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Layer, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { circuitOf, FORCED, reading } from "../../src/conformance/Law.ts"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as MemoryStorage from "../../src/Storage/Memory.ts"
import { FaultyStorage } from "../../src/testing.ts"
import { memory } from "../Storage/broken.ts"
import { untilQuiet } from "../utils.ts"

const around = (faults?: FaultyStorage.Faults) => FaultyStorage.layer(Storage.MemoryStorageLive, faults)

const read = [reading("c", "a")]

const wiped = <E, R>(layer: Layer.Layer<FaultyStorage.FaultyStorage | Storage.Storage, E, R>) =>
  Layer.effectContext(Effect.andThen(FaultyStorage.wipe, Effect.context<Storage.Storage>())).pipe(Layer.provide(layer))

describe("a faulty storage keeps the laws", () => {
  const storages: Record<string, Conformance.Params> = {
    "without faults": {
      ...memory,
      layer: (options) => FaultyStorage.layer(Layer.effect(Storage.Storage, MemoryStorage.make(options)))
    },
    "that was wiped": {
      ...memory,
      layer: (options) => wiped(FaultyStorage.layer(Layer.effect(Storage.Storage, MemoryStorage.make(options))))
    }
  }
  for (const [name, params] of Object.entries(storages)) {
    for (const law of Conformance.laws(params)) it.effect(`a faulty storage ${name}: ${law.name}`, () => law.check)
  }
})

const fiberOf = <A, E, R>(effect: Effect.Effect<A, E, R>) => Effect.forkChild(effect, { startImmediately: true })

describe("the faults of a storage", () => {
  it.effect("a refused outage fails each request at once, and ends", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage
      const error = yield* Effect.flip(storage.sync(read))
      assert.deepInclude(error, { operation: "sync", reason: "Unavailable" })
      assert.strictEqual((yield* Effect.flip(Stream.runCollect(storage.list))).reason, "Unavailable")
      yield* FaultyStorage.set({})
      assert.strictEqual((yield* storage.sync(read)).length, 1)
      assert.deepStrictEqual(yield* FaultyStorage.requests, { sent: 3, answered: 1 })
    }).pipe(Effect.provide(around({ outage: "refused" }))))

  it.effect("a silent outage answers nothing, not even when it is over", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage
      const waiting = yield* fiberOf(storage.sync(read))
      yield* FaultyStorage.set({})
      yield* TestClock.adjust("1 hour")
      assert.isUndefined(waiting.pollUnsafe())
      yield* Fiber.interrupt(waiting)
      assert.deepStrictEqual(yield* FaultyStorage.requests, { sent: 1, answered: 0 })
    }).pipe(Effect.provide(around({ outage: "silent" }))))

  it.effect("latency is a request's way there, by the clock", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage
      const waiting = yield* fiberOf(storage.sync(read))
      yield* TestClock.adjust(49)
      assert.isUndefined(waiting.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.strictEqual((yield* Fiber.join(waiting)).length, 1)
    }).pipe(Effect.provide(around({ latency: "50 millis" }))))

  it.effect("a lost request changes nothing, and a lost reply leaves what was changed", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage
      const override = (circuit: string) =>
        fiberOf(circuitOf(storage, circuit).operate({ _tag: "Override", ...FORCED }))
      const names = Effect.andThen(FaultyStorage.set({}), Stream.runCollect(storage.list))
      yield* FaultyStorage.set({ losesRequests: 1 })
      yield* override("lost")
      yield* untilQuiet
      assert.deepStrictEqual(yield* names, [])
      yield* FaultyStorage.set({ losesReplies: 1 })
      const changing = yield* override("done")
      yield* untilQuiet
      assert.isUndefined(changing.pollUnsafe())
      assert.deepStrictEqual(yield* names, ["done"])
    }).pipe(Effect.provide(around())))

  it.effect("a share of requests is lost, as the layer's Random decides", () => {
    const answered = Effect.gen(function*() {
      const storage = yield* Storage.Storage
      for (let i = 0; i < 200; i++) yield* fiberOf(storage.sync(read))
      yield* untilQuiet
      return (yield* FaultyStorage.requests).answered
    }).pipe(Effect.provide(around({ losesRequests: 0.25, losesReplies: 0.5 })))
    return Effect.gen(function*() {
      const first = yield* Random.withSeed(answered, "seed")
      assert.strictEqual(yield* Random.withSeed(answered, "seed"), first)
      assert.isAtLeast(first, 50)
      assert.isAtMost(first, 100)
    })
  })

  it.effect("no change is pushed in an outage, nor by a storage that loses its replies", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage
      const pushed: Array<string> = []
      yield* fiberOf(Stream.runForEach(storage.changes, (change) =>
        Effect.sync(() =>
          pushed.push(change._tag === "Changed" ? change.circuit : change._tag)
        )))
      const override = (circuit: string) =>
        fiberOf(circuitOf(direct, circuit).operate({ _tag: "Override", ...FORCED }))
      const direct = yield* Effect.provide(Storage.Storage, Storage.MemoryStorageLive)
      for (
        const [name, faults] of [["a", {}], ["b", { outage: "silent" }], ["c", { losesReplies: 1 }], ["d", {}]] as const
      ) {
        yield* FaultyStorage.set(faults)
        yield* override(name)
        yield* untilQuiet
      }
      assert.deepStrictEqual(pushed, ["Subscribed", "a", "d"])
    }).pipe(Effect.provide(around())))

  it.effect("a wipe loses the circuits and nothing that is written later", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage
      const bells = storage.bells!(undefined)
      yield* circuitOf(storage, "before").operate({ _tag: "Override", ...FORCED })
      const { epoch } = yield* bells
      yield* FaultyStorage.wipe
      assert.notStrictEqual((yield* bells).epoch, epoch)
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
      assert.strictEqual((yield* circuitOf(storage, "before").read).generation, 0)
      assert.deepStrictEqual(yield* storage.history("before"), [])
      yield* circuitOf(storage, "after").operate({ _tag: "Override", ...FORCED })
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), ["after"])
      yield* FaultyStorage.wipe
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
    }).pipe(Effect.provide(around())))

  it("faults that make no sense are refused at once, with field, value and range", () => {
    const bad: ReadonlyArray<readonly [faults: object, message: RegExp]> = [
      [{ latency: -1 }, /FaultyStorage: latency must be a finite duration from 0 ms to \d+ ms, got -1/],
      [{ losesRequests: 1.5 }, /losesRequests must be a rate in \[0, 1\], got 1.5/],
      [{ losesReplies: NaN }, /losesReplies must be a rate in \[0, 1\], got NaN/],
      [{ outage: "loud" }, /outage must be one of silent, refused, got "loud"/],
      [
        { losesRequest: 1 },
        /losesRequest must be left out, because there is no such field \(did you mean losesRequests\?\)/
      ]
    ]
    for (const [faults, message] of bad) assert.throws(() => around(faults), message)
  })
})

describe("a breaker on a faulty storage", () => {
  class Payments
    extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(2), openFor: "1 minute" })
  {}

  it.effect("an open circuit stays open when its storage loses its data, and its probe tells the storage", () =>
    Effect.gen(function*() {
      const payments = yield* Payments
      for (let i = 0; i < 2; i++) yield* Effect.exit(Payments.wrap(Effect.fail("down")))
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      const storage = yield* Storage.Storage
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), ["payments"])
      yield* FaultyStorage.wipe
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), [])
      yield* TestClock.adjust("1 minute")
      yield* Effect.exit(Payments.wrap(Effect.fail("still down")))
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      assert.strictEqual(yield* payments.state, "Open")
      assert.deepStrictEqual(yield* Stream.runCollect(storage.list), ["payments"])
    }).pipe(Effect.provide(Layer.provideMerge(Payments.layer, around()))))

  it.effect("a breaker with onStorageError fail refuses calls in an outage, and one without makes them", () =>
    Effect.gen(function*() {
      const strict = yield* Breaker.make("strict", { consistency: "strict", onStorageError: "fail" })
      const mild = yield* Breaker.make("mild", { consistency: "strict" })
      assert.strictEqual((yield* Effect.flip(strict.wrap(Effect.void)))._tag, "StorageError")
      assert.strictEqual(yield* mild.wrap(Effect.succeed("made")), "made")
    }).pipe(Effect.provide(around({ outage: "refused" }))))
})
