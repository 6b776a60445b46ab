import { assert, describe, it } from "@effect/vitest"
import { Clock, Effect, Fiber, Latch, Result, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { OperationTo } from "../../src/core/Change.ts"
import { noDelta } from "../../src/core/Delta.ts"
import * as Storage from "../../src/Storage.ts"
import * as Memory from "../../src/Storage/Memory.ts"
import type { Announcement } from "../../src/Storage/Storage.ts"
import { failures, forced, IDLE, MINUTE, opening, why, WITHINS } from "../core/circuit.ts"
import { untilQuiet } from "../utils.ts"

let sequence = 0

const reported = (circuit: string, delta = failures(1)) => ({
  circuit,
  instance: "i",
  sequence: ++sequence,
  generation: 0,
  delta,
  withins: WITHINS
})
const report = (storage: Storage.Storage, circuit = "a", delta = failures(1)) =>
  storage.sync([reported(circuit, delta)]).pipe(Effect.map(([one]) => Result.getOrThrow(one!.result).snapshot))
const look = (storage: Storage.Storage, circuit = "a") => report(storage, circuit, noDelta)
const trip = (storage: Storage.Storage, generation = 0, asOf = Infinity) =>
  storage.change("a", { _tag: "Trip", generation, asOf, maxAge: 0, opening, why })
const operate = (storage: Storage.Storage, to: OperationTo = { _tag: "Reset" }, circuit = "a") =>
  storage.change(circuit, { _tag: "Operation", id: `${++sequence}`, known: 0, why, to })
const ask = (storage: Storage.Storage, sequence = 1, duration = 10_000) =>
  storage.probe("a", { _tag: "Ask", lease: { instance: "i", sequence }, generation: 0, duration, probes: 1 })
const list = (storage: Storage.Storage) => Effect.map(Stream.runCollect(storage.list), (names) => names.toSorted())

/** Collects the announcements from here on. */
const listen = (storage: Storage.Storage, ready: Effect.Effect<unknown> = Effect.void) =>
  Effect.gen(function*() {
    const announced: Array<Announcement> = []
    yield* storage.changes.pipe(
      Stream.runForEach((announcement) => Effect.andThen(ready, Effect.sync(() => announced.push(announcement)))),
      Effect.forkScoped({ startImmediately: true })
    )
    return announced
  })
const generations = (announced: ReadonlyArray<Announcement>) =>
  announced.map((announcement) => announcement._tag === "Changed" ? announcement.generation : announcement._tag)

/** A clock whose wall time and monotonic time the test sets separately. */
const handClock = () => {
  const hands = { wall: 1_700_000_000_000, monotonic: 5n }
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: () => hands.wall,
    currentTimeNanosUnsafe: () => BigInt(hands.wall) * 1_000_000n,
    monotonicTimeNanosUnsafe: () => hands.monotonic,
    currentTimeMillis: Effect.sync(() => hands.wall),
    currentTimeNanos: Effect.sync(() => BigInt(hands.wall) * 1_000_000n),
    monotonicTimeNanos: Effect.sync(() => hands.monotonic),
    sleep: () => Effect.never
  }
  return { hands, clock, make: Effect.provideService(Memory.make({}), Clock.Clock, clock) }
}
const millis = (n: number) => BigInt(n) * 1_000_000n

describe("memory", () => {
  it.effect("memory has its backend and capabilities", () =>
    Effect.gen(function*() {
      const { backend, capabilities } = yield* Memory.make()
      assert.strictEqual(backend, "memory")
      assert.deepStrictEqual(capabilities, {
        shared: false,
        durable: false,
        pushes: true,
        history: true,
        fences: true,
        bells: true
      })
    }))

  it("memory completes every operation at once", () => {
    const storage = Effect.runSync(Memory.make())
    const many = Array.from({ length: 1000 }, (_, i) => reported(`${i}`))
    const synced = Effect.runSync(storage.sync(many))
    assert.isTrue(synced.every(({ result }) => Result.isSuccess(result)))
    assert.deepStrictEqual(synced.map(({ circuit }) => circuit), many.map(({ circuit }) => circuit))
    assert.isTrue(Effect.runSync(trip(storage)).committed)
    Effect.runSync(operate(storage, { _tag: "HalfOpen" }))
    assert.isTrue(Effect.runSync(ask(storage)).granted)
    assert.strictEqual(Effect.runSync(storage.history("a")).length, 2)
    const fiber = Effect.runFork(look(storage))
    assert.isTrue(Fiber.isFiber(fiber) && fiber.pollUnsafe() !== undefined)
  })

  it.effect("memory works after the scope it was made in has closed", () =>
    Effect.gen(function*() {
      const storage = yield* Storage.Storage.pipe(Effect.provide(Memory.layer))
      const announced = yield* listen(storage)
      yield* operate(storage)
      yield* untilQuiet
      assert.strictEqual((yield* storage.history("a")).length, 1)
      assert.strictEqual(announced.length, 2)
    }).pipe(Effect.scoped))

  it.effect("memory is separate for each layer, and shared by all users of one layer", () =>
    Effect.gen(function*() {
      const own = Storage.Storage.pipe(Effect.provide(Storage.MemoryStorageLive, { local: true }))
      const [one, other] = [yield* own, yield* own]
      yield* report(one)
      assert.deepStrictEqual([yield* list(one), yield* list(other)], [["a"], []])
      const shared = yield* Effect.all([Storage.Storage, Storage.Storage]).pipe(Effect.provide(Memory.layer))
      assert.strictEqual(shared[0], shared[1])
    }))

  it.effect("memory keeps circuits by their names, code point by code point", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      const names = ["", "n".repeat(10_000), "__proto__", "constructor", "🦆\0", "a", "A", "a ", "é", "e\u0301"]
      for (const [i, name] of names.entries()) yield* report(storage, name, failures(i + 1))
      for (const [i, name] of names.entries()) {
        assert.strictEqual((yield* look(storage, name)).lifetime.failure, i + 1)
      }
      assert.deepStrictEqual(yield* list(storage), names.toSorted())
      assert.strictEqual((yield* Effect.flip(operate(storage, { _tag: "Reset" }, "\ud800"))).reason, "Invalid")
    }))

  it.effect("memory lists circuits that were written, not circuits that were only read", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      yield* look(storage, "read")
      yield* storage.history("read")
      yield* ask(storage)
      yield* report(storage, "reported")
      yield* operate(storage, { _tag: "Reset" }, "reset")
      assert.deepStrictEqual(yield* list(storage), ["reported", "reset"])
      yield* TestClock.adjust(IDLE)
      assert.deepStrictEqual(yield* list(storage), [])
    }))

  it.effect("of concurrent trips in memory, one wins", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      const answers = yield* Effect.forEach(Array.from({ length: 100 }), () => trip(storage), {
        concurrency: "unbounded"
      })
      assert.strictEqual(answers.filter(({ committed }) => committed).length, 1)
      assert.strictEqual((yield* storage.history("a")).length, 1)
    }))

  for (const idleTimeToLive of [0, 999, -1, NaN, Infinity, "a while"] as const) {
    it(`memory refuses an idle time of ${idleTimeToLive} at once`, () => {
      const message = /^Storage "memory": idleTimeToLive must be a finite duration from 1000 ms to 31536000000 ms, got /
      assert.throws(() => Memory.make({ idleTimeToLive: idleTimeToLive as never }), message)
    })
  }
})

describe("memory's clock", () => {
  it.effect("memory's clock is the test clock", () =>
    Effect.gen(function*() {
      yield* TestClock.adjust(1234)
      const storage = yield* Memory.make()
      assert.strictEqual((yield* look(storage)).asOf, 1234)
      yield* trip(storage)
      yield* TestClock.adjust(MINUTE - 1)
      assert.deepStrictEqual((yield* look(storage)).state, { _tag: "Open", remaining: 1 })
      assert.isFalse((yield* ask(storage)).granted)
      yield* TestClock.adjust(1)
      assert.isTrue((yield* ask(storage)).granted)
      assert.strictEqual((yield* storage.history("a"))[0]?.at, 1234 + MINUTE)
    }))

  it.effect("memory's clock starts at the wall clock and is monotonic, even if the wall clock is set", () =>
    Effect.gen(function*() {
      const { hands, make } = handClock()
      const storage = yield* make
      const start = hands.wall
      yield* trip(storage)
      const { generation } = yield* look(storage)
      assert.strictEqual(generation, start * 1000)
      hands.monotonic += millis(1000)
      for (const wall of [0, 2 * start]) {
        hands.wall = wall
        assert.strictEqual((yield* look(storage)).asOf, start + 1000)
        assert.deepStrictEqual((yield* look(storage)).state, { _tag: "Open", remaining: MINUTE - 1000 })
      }
      hands.monotonic += 1500n
      assert.strictEqual((yield* operate(storage)).snapshot.generation, (start + 1000) * 1000 + 1)
    }))

  it.effect("memory's clock is the one it was made with, not the caller's", () =>
    Effect.gen(function*() {
      const { hands, make } = handClock()
      const storage = yield* make
      yield* TestClock.adjust(IDLE)
      assert.strictEqual((yield* look(storage)).asOf, hands.wall)
    }))
})

describe("a circuit in memory", () => {
  const kept = (
    what: string,
    write: (storage: Storage.Storage) => Effect.Effect<unknown, Storage.StorageError>,
    at: number
  ) =>
    it.effect(`a circuit in memory is forgotten ${what}`, () =>
      Effect.gen(function*() {
        const storage = yield* Memory.make()
        yield* write(storage)
        yield* TestClock.adjust(at - 1)
        assert.deepStrictEqual(yield* list(storage), ["a"])
        yield* TestClock.adjust(1)
        assert.deepStrictEqual(yield* list(storage), [])
        assert.deepStrictEqual(yield* storage.history("a"), [])
        assert.strictEqual((yield* look(storage)).generation, 0)
      }))

  kept("an idle time after its last use", report, IDLE)
  kept("only after its open time and its backoff", (storage) =>
    storage.change("a", {
      _tag: "Trip",
      generation: 0,
      asOf: 0,
      maxAge: 0,
      opening: { openFor: 2 * IDLE, maxOpenFor: 2 * IDLE },
      why
    }), 4 * IDLE)
  kept(
    "only after its lease ends",
    (storage) => Effect.andThen(operate(storage, { _tag: "HalfOpen" }), ask(storage, 1, 3 * IDLE)),
    3 * IDLE
  )
  kept("only after an open time that a hint lengthened", (storage) =>
    Effect.andThen(
      report(storage, "a", failures(1, 2 * IDLE)),
      storage.change("a", {
        _tag: "Trip",
        generation: 0,
        asOf: 0,
        maxAge: 0,
        opening: { openFor: 1, maxOpenFor: 9 * IDLE },
        why
      })
    ), 4 * IDLE)
  kept(
    "only after its override",
    (storage) => operate(storage, { _tag: "Override", ...forced, remaining: 3 * IDLE }),
    3 * IDLE
  )

  it.effect("a circuit in memory is never forgotten under an override without an expiry", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make({ idleTimeToLive: "1 second" })
      yield* operate(storage, { _tag: "Override", ...forced })
      yield* TestClock.adjust("300 days")
      yield* report(storage, "b")
      yield* report(storage, "c")
      assert.strictEqual((yield* look(storage)).override?.kind, "ForcedOpen")
    }))

  it.effect("an expired circuit in memory is deleted by operations on other circuits", () =>
    Effect.gen(function*() {
      const { hands, make } = handClock()
      const storage = yield* make
      for (let i = 0; i < 1000; i++) yield* report(storage, `${i}`)
      hands.monotonic += millis(IDLE)
      for (let i = 0; i < 1000; i++) yield* report(storage, "busy")
      hands.monotonic -= millis(1)
      assert.deepStrictEqual(yield* list(storage), ["busy"], "what was only hidden would be back")
    }))

  it.effect("expired circuits in memory are deleted as fast as new ones are added", () =>
    Effect.gen(function*() {
      const { hands, make } = handClock()
      const storage = yield* make
      for (let i = 0; i < 20_000; i++) {
        hands.monotonic += millis(IDLE / 1000)
        yield* report(storage, `${i}`)
      }
      const now = hands.monotonic
      hands.monotonic = 5n
      assert.isBelow((yield* list(storage)).length, 4000, "of which a thousand are live")
      hands.monotonic = now
      assert.strictEqual((yield* list(storage)).length, 1000)
    }))
})

describe("memory's changes", () => {
  it.effect("memory's changes begin with Subscribed and reach every subscriber, each with the view", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      yield* operate(storage)
      const [one, other] = [yield* listen(storage), yield* listen(storage)]
      yield* untilQuiet
      assert.deepStrictEqual(one, [{ _tag: "Subscribed" }])
      const { snapshot } = yield* operate(storage)
      yield* report(storage)
      yield* trip(storage, 99)
      yield* untilQuiet
      const expected: ReadonlyArray<Announcement> = [
        { _tag: "Subscribed" },
        { _tag: "Changed", circuit: "a", generation: snapshot.generation, snapshot }
      ]
      assert.deepStrictEqual([one, other], [expected, expected])
    }))

  it.effect("memory's changes are received from Subscribed on", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      const made: Array<number> = []
      const announced = yield* storage.changes.pipe(
        Stream.tap((announcement) =>
          announcement._tag === "Subscribed"
            ? Effect.map(operate(storage), ({ snapshot }) => made.push(snapshot.generation))
            : Effect.void
        ),
        Stream.take(2),
        Stream.runCollect
      )
      assert.deepStrictEqual(generations(announced), ["Subscribed", ...made])
    }))

  it.effect("memory's changes beyond a slow subscriber's buffer are dropped, the oldest first, and Subscribed is repeated", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      const latch = Latch.makeUnsafe()
      const announced = yield* listen(storage, latch.await)
      const made: Array<number> = []
      for (let i = 0; i < 3000; i++) made.push((yield* operate(storage)).snapshot.generation)
      yield* latch.open
      yield* untilQuiet
      const received = generations(announced)
      assert.strictEqual(received[0], "Subscribed")
      assert.isTrue(received.slice(1).includes("Subscribed"), "some were missed")
      const after = received.slice(received.lastIndexOf("Subscribed") + 1)
      assert.deepStrictEqual(after, made.slice(-after.length))
      assert.isAtMost(received.length, 1100)
      yield* operate(storage)
      yield* untilQuiet
      assert.strictEqual(announced.length, received.length + 1, "and then each is received again")
    }))

  it.effect("memory's changes do not accumulate without subscribers", () =>
    Effect.gen(function*() {
      const storage = yield* Memory.make()
      for (let i = 0; i < 2000; i++) yield* operate(storage)
      yield* Effect.scoped(Effect.andThen(listen(storage), untilQuiet))
      const announced = yield* listen(storage)
      yield* untilQuiet
      assert.deepStrictEqual(announced, [{ _tag: "Subscribed" }])
    }))
})
