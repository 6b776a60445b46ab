import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { makeKeyed, withReports } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

interface Wraps {
  readonly wrap: Breaker.WrapKeyed<unknown, never>
}
const ok = ({ wrap }: Wraps, key: string) => Effect.asVoid(Effect.exit(wrap(Effect.void, { key })))
const fail = ({ wrap }: Wraps, key: string) => Effect.asVoid(Effect.exit(wrap(Effect.fail("no"), { key })))
const runs = ({ wrap }: Wraps, key: string) => Effect.map(Effect.exit(wrap(Effect.void, { key })), Exit.isSuccess)

describe("a keyed breaker", () => {
  it.effect("a keyed breaker has a circuit for each key", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("hosts", one)
      yield* fail(keyed, "a")
      assert.isFalse(yield* runs(keyed, "a"))
      assert.isTrue(yield* runs(keyed, "b"))
      const error = yield* Effect.flip(keyed.wrap(Effect.die("ran"), { key: "a" }))
      assert.instanceOf(error, Breaker.BreakerOpenError)
      assert.strictEqual((error as Breaker.BreakerOpenError).circuit, "hosts/a")
      assert.strictEqual(yield* keyed.size, 2)
    }))

  it.effect("operators get a key's breaker from a keyed breaker", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("operated", one)
      const breaker = keyed.get("a", { create: true })
      assert.strictEqual(breaker.circuit, "operated/a")
      yield* breaker.override({ mode: "ForcedOpen", reason: "r", actor: "a" })
      assert.isFalse(yield* runs(keyed, "a"))
      yield* breaker.clearOverride({ actor: "a" })
      assert.isTrue(yield* runs(keyed, "a"))
      yield* Effect.exit(breaker.wrap(Effect.fail("no")))
      assert.isFalse(yield* runs(keyed, "a"))
      assert.strictEqual(yield* keyed.get("a").state, "Open")
    }))

  it.effect("concurrent calls with one new key share one circuit", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("together", {})
      yield* Effect.forEach(
        Array.from({ length: 100 }),
        () => keyed.wrap(Effect.yieldNow, { key: "a" }),
        { concurrency: "unbounded" }
      )
      assert.strictEqual(yield* keyed.size, 1)
      assert.strictEqual((yield* keyed.get("a").snapshot).statistics.success, 100)
    }))

  it.effect("a keyed breaker never has more circuits than its capacity", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("bounded", { capacity: 1000 })
      for (let n = 0; n < 100_000; n++) yield* keyed.wrap(Effect.void, { key: `key ${n}` })
      assert.strictEqual(yield* keyed.size, 1000)
    }))

  it.effect("a keyed breaker can be a service", () => {
    class Hosts extends Breaker.KeyedService<Hosts>()("keyed-service", { ...one, capacity: 10 }) {}
    return Effect.gen(function*() {
      const call = (key: string) => Effect.exit(Effect.fail("no").pipe(Hosts.wrap({ key })))
      yield* call("a")
      assert.include(String(yield* call("a")), "BreakerOpenError")
      assert.deepStrictEqual(yield* call("b"), Exit.fail("no"))
      assert.strictEqual(yield* (yield* Hosts).size, 2)
      assert.strictEqual(Hosts.policy.capacity, 10)
    }).pipe(Effect.provide(Hosts.layer.pipe(Layer.provide(Storage.MemoryStorageLive))))
  })
})

describe("a keyed breaker at its capacity", () => {
  it.effect("a keyed breaker at its capacity evicts the least recently used circuit", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("lru", { ...one, capacity: 3 })
      for (const key of ["a", "b", "c", "a"]) {
        yield* TestClock.adjust("2 seconds")
        yield* ok(keyed, key)
      }
      yield* ok(keyed, "d")
      const successes: Array<number> = []
      for (const key of ["a", "c", "d"]) successes.push((yield* keyed.get(key).snapshot).statistics.success)
      assert.deepStrictEqual(successes, [2, 1, 1])
    }))

  const precious: Record<string, (keyed: Breaker.KeyedBreaker<unknown>) => Effect.Effect<unknown>> = {
    "is open": (keyed) => fail(keyed, "a"),
    "was open a moment ago": (keyed) =>
      Effect.andThen(fail(keyed, "a"), Effect.andThen(TestClock.adjust("10 seconds"), ok(keyed, "a"))),
    "is half-open": (keyed) => keyed.get("a", { create: true }).forceHalfOpen.pipe(Effect.orDie),
    "has a call in flight": (keyed) =>
      Effect.forkChild(Effect.exit(keyed.wrap(Effect.never, { key: "a" })), { startImmediately: true }),
    "has an override": (keyed) =>
      Effect.orDie(keyed.get("a", { create: true }).override({ mode: "Disabled", reason: "r", actor: "a" }))
  }
  for (const [why, prepare] of Object.entries(precious)) {
    it.effect(`a circuit that ${why} is not evicted; new keys without room share one circuit`, () =>
      Effect.gen(function*() {
        const keyed = yield* makeKeyed("precious", { ...one, capacity: 1 })
        yield* prepare(keyed)
        const before = yield* keyed.get("a").snapshot
        assert.isTrue(yield* runs(keyed, "b"))
        assert.deepStrictEqual(yield* keyed.get("a").snapshot, before)
        yield* fail(keyed, "b")
        assert.isFalse(yield* runs(keyed, "c"))
        assert.strictEqual(yield* keyed.size, 1)
      }))
  }

  it.effect("a circuit with recent failures is not evicted", () =>
    Effect.gen(function*() {
      for (const trip of [Trip.consecutiveFailures(2), Trip.failures({ count: 2, within: "1 minute" })]) {
        const keyed = yield* makeKeyed("recent", { trip, capacity: 1 })
        yield* fail(keyed, "a")
        yield* ok(keyed, "b")
        yield* fail(keyed, "a")
        assert.isFalse(yield* runs(keyed, "a"))
      }
    }))

  it.effect("under passThrough, the calls of a new key without room run without a circuit", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("pass", { ...one, capacity: 1, overflow: "passThrough", timeout: "1 second" })
      yield* ok(keyed, "a")
      for (let i = 0; i < 5; i++) {
        assert.strictEqual(yield* Effect.flip(keyed.wrap(Effect.fail("no"), { key: "b" })), "no")
      }
      const hung = yield* fork(keyed.wrap(Effect.never, { key: "b" }))
      yield* TestClock.adjust("1 minute")
      assert.isUndefined(hung.pollUnsafe())
      assert.strictEqual(yield* keyed.size, 1)
      yield* fail(keyed, "a")
      assert.isFalse(yield* runs(keyed, "a"))
    }))

  it.effect("under shareOne, no circuit is evicted", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("share", { ...one, capacity: 1, overflow: "shareOne" })
      yield* ok(keyed, "a")
      yield* fail(keyed, "b")
      assert.isFalse(yield* runs(keyed, "c"))
      assert.isTrue(yield* runs(keyed, "a"))
      assert.strictEqual((yield* keyed.get("a").snapshot).statistics.success, 2)
    }))
})

describe("an idle key", () => {
  it.effect("a key's circuit is forgotten after the idle time", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("idle", { idleTimeToLive: "1 minute", overflow: "passThrough", capacity: 2 })
      yield* ok(keyed, "a")
      yield* ok(keyed, "b")
      yield* TestClock.adjust("59 seconds")
      yield* ok(keyed, "b")
      yield* TestClock.adjust("1 second")
      yield* ok(keyed, "c")
      assert.strictEqual((yield* keyed.get("c").snapshot).statistics.success, 1)
      assert.strictEqual((yield* keyed.get("b").snapshot).statistics.success, 2)
    }))

  const uses: Record<string, (keyed: Breaker.KeyedBreaker<unknown>) => Effect.Effect<unknown>> = {
    "was only looked at": (keyed) => keyed.get("a").state,
    "had only ignored calls": (keyed) =>
      keyed.wrap(Effect.void, { key: "a", classify: () => Outcome.ignored }).pipe(Effect.exit),
    "had only an interrupted call": (keyed) =>
      Effect.flatMap(
        Effect.forkChild(Effect.exit(keyed.wrap(Effect.never, { key: "a" })), { startImmediately: true }),
        Fiber.interrupt
      )
  }
  for (const [why, use] of Object.entries(uses)) {
    it.effect(`a key's circuit that ${why} is forgotten after the idle time, too`, () =>
      Effect.gen(function*() {
        const keyed = yield* makeKeyed("looked", { idleTimeToLive: "1 minute", overflow: "passThrough", capacity: 1 })
        yield* use(keyed)
        for (let i = 0; i < 3; i++) {
          yield* TestClock.adjust("1 hour")
          yield* ok(keyed, `b${i}`)
        }
        assert.strictEqual((yield* keyed.get("b2").snapshot).statistics.success, 1)
      }))
  }

  it.effect("a key is not idle while a call is in flight", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("flying", { idleTimeToLive: "1 minute", maxConcurrent: 1 })
      yield* ok(keyed, "a")
      yield* TestClock.adjust("10 minutes")
      const gate = yield* Deferred.make<void>()
      const call = yield* fork(keyed.wrap(Deferred.await(gate), { key: "a" }))
      yield* TestClock.adjust("10 seconds")
      yield* ok(keyed, "b")
      assert.isFalse(yield* runs(keyed, "a"), "the place is taken")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(call)
      assert.strictEqual((yield* keyed.get("a").snapshot).statistics.success, 2)
    }))

  it.effect("a key's circuit is kept while its open time or its backoff runs", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("long", { ...one, openFor: "1 hour", idleTimeToLive: "1 minute" })
      yield* fail(keyed, "a")
      yield* TestClock.adjust("59 minutes")
      yield* ok(keyed, "b")
      assert.isFalse(yield* runs(keyed, "a"))
      yield* TestClock.adjust("2 minutes")
      yield* ok(keyed, "c")
      yield* fail(keyed, "a")
      assert.strictEqual((yield* keyed.get("a").snapshot).openings, 2)
    }))
})

describe("keys", () => {
  const good = ["__proto__", "constructor", "toString", "a/b", "a~b", "a~1b", " ", "\n", "\0", "🦆", "k".repeat(10_000)]

  it.effect("every well-formed text is a key", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("any", one)
      for (const key of good) {
        yield* fail(keyed, key)
        assert.isFalse(yield* runs(keyed, key), JSON.stringify(key.slice(0, 10)))
        assert.strictEqual(keyed.get(key).circuit, `any/${key}`)
      }
      assert.strictEqual(yield* keyed.size, good.length)
    }))

  it.effect("keys of two breakers never name the same circuit", () =>
    Effect.gen(function*() {
      const names = ["a", "a/b", "a~1b", "a~b", "a~0b", "a/", "/", "~"]
      const keys = ["a", "b", "b/c", "c", "~1b", "/", "//", "~"]
      const circuits = new Set<string>()
      for (const name of names) {
        const keyed = yield* makeKeyed(name, {})
        for (const key of keys) circuits.add(keyed.get(key).circuit)
      }
      assert.strictEqual(circuits.size, names.length * keys.length)
    }))

  const bad: ReadonlyArray<unknown> = [
    "",
    "\ud800",
    "a\udfff",
    undefined,
    null,
    1,
    {},
    ["a"],
    Symbol("a"),
    1n,
    () => "a"
  ]
  for (const key of bad) {
    it.effect(`the key ${String(typeof key)} ${typeof key === "string" ? escape(key) : ""} is a defect before anything runs`, () =>
      Effect.gen(function*() {
        let ran = false
        const keyed = yield* makeKeyed("strict-keys", {})
        const call = keyed.wrap(
          Effect.sync(() => {
            ran = true
          }),
          { key: key as string }
        )
        const exit = yield* Effect.exit(call)
        assert.isTrue(Exit.hasDies(exit))
        assert.match(
          String(exit),
          /RangeError: Keyed breaker "strict-keys": key must be a well-formed text of at least one character, got/
        )
        assert.isFalse(ran)
        assert.strictEqual(yield* keyed.size, 0)
        assert.throws(() => keyed.get(key as string), RangeError)
      }))
  }
})

describe("keyed options", () => {
  const bad = [
    [{ capacity: 0 }, /capacity must be a whole number from 1 to 10000000, got 0/],
    [{ capacity: 1.5 }, /capacity must be .* got 1.5/],
    [{ capacity: NaN }, /capacity must be .* got NaN/],
    [{ idleTimeToLive: 0 }, /idleTimeToLive must be a finite duration at least 1 ms, got 0/],
    [{ idleTimeToLive: Infinity }, /idleTimeToLive must be/],
    [{ overflow: "explode" as never }, /overflow must be one of evictIdle, shareOne, passThrough, got "explode"/]
  ] as const
  for (const [options, message] of bad) {
    it(`the keyed options ${JSON.stringify(options)} are refused`, () => {
      assert.throws(() => Breaker.makeKeyed("bad", options), message)
      assert.throws(() => Breaker.KeyedService()("bad", options), RangeError)
    })
  }

  it.effect("a schedule that dies is logged with the breaker's name, for a key, too", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const keyed = yield* makeKeyed("reported", {
          classify: () => {
            throw new Error("bad")
          }
        })
        yield* ok(keyed, "a")
        assert.include(reports[0]?.message, "\"reported\"")
      })
    ))
})
