import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Logger, References, Result } from "effect"
import { TestClock } from "effect/testing"
import { vi } from "vitest"
import { noDelta } from "../src/core/Delta.ts"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { Circuit } from "../src/internal/Circuit.ts"
import { Keys } from "../src/internal/Keys.ts"
import { messages } from "../src/internal/Messages.ts"
import { circuitOf, FakeFleet } from "./circuit/support.ts"
import { hanging, Link, lostReply, memory } from "./support/storages.ts"
import { listen, makeKeyed, untilQuiet, withReports } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

interface Wraps {
  readonly wrap: Breaker.WrapKeyed<unknown, never>
}
const ok = ({ wrap }: Wraps, key: string) => Effect.asVoid(Effect.exit(wrap(Effect.void, { key })))
const fail = ({ wrap }: Wraps, key: string) => Effect.asVoid(Effect.exit(wrap(Effect.fail("no"), { key })))
const runs = ({ wrap }: Wraps, key: string) => Effect.map(Effect.exit(wrap(Effect.void, { key })), Exit.isSuccess)

/** Runs with a logger that keeps the level and the fields of each line that says that the capacity is reached. */
const withCapacity = <A, E, R>(
  f: (lines: ReadonlyArray<readonly [string, Readonly<Record<string, unknown>>]>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const lines: Array<readonly [string, Readonly<Record<string, unknown>>]> = []
    const logger = Logger.make<unknown, void>(({ fiber, logLevel, message }) => {
      if (String(message) !== messages.capacityReached.text) return
      lines.push([logLevel, fiber.getRef(References.CurrentLogAnnotations)])
    })
    return Effect.provide(f(lines), Logger.layer([logger]))
  })

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

describe("the entries of a keyed breaker", () => {
  it.effect("are the keys and snapshots of the circuits that size counts, and reading them changes nothing", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("entries", { ...one, capacity: 2, overflow: "shareOne" })
      assert.deepStrictEqual(yield* keyed.entries, [])
      yield* fail(keyed, "a")
      yield* ok(keyed, "b")
      yield* ok(keyed, "c")
      yield* TestClock.adjust("10 seconds")
      const entries = yield* keyed.entries
      assert.deepStrictEqual(entries.map(({ key, snapshot }) => [key, snapshot.circuit, snapshot.state]), [
        ["a", "entries/a", "Open"],
        ["b", "entries/b", "Closed"]
      ])
      assert.strictEqual(entries.length, yield* keyed.size)
      assert.deepStrictEqual(yield* keyed.entries, entries)
    }))
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

  /** Which of four keys still has its circuit, after so many new keys. Each key has the failures that its value says. */
  const survivorsOf = (trip: Trip.Trip, newKeys: number) =>
    Effect.filter(Object.entries({ a: 3, b: 1, c: 0, d: 2 }), ([asked]) =>
      Effect.gen(function*() {
        const keyed = yield* makeKeyed("fewest", { trip, capacity: 4 })
        for (const [key, failures] of Object.entries({ a: 3, b: 1, c: 0, d: 2 })) {
          yield* ok(keyed, key)
          for (let i = 0; i < failures; i++) yield* fail(keyed, key)
        }
        yield* TestClock.adjust("1 second")
        yield* untilQuiet
        for (let n = 0; n < newKeys; n++) {
          for (let i = 0; i < 5; i++) yield* fail(keyed, `new ${n}`)
        }
        return (yield* keyed.get(asked).snapshot).statistics.success === 1
      }))

  for (const trip of [Trip.consecutiveFailures(9), Trip.failures({ count: 9, within: "1 hour" })]) {
    it.effect(`by ${trip._tag}, closed circuits are evicted one by one, those with the fewest failures first (F16)`, () =>
      Effect.gen(function*() {
        const left = yield* Effect.forEach([0, 1, 2, 3, 4], (newKeys) => survivorsOf(trip, newKeys))
        assert.deepStrictEqual(left.map((keys) => keys.map(([key]) => key).join("")), ["abcd", "abd", "ad", "a", ""])
      }))
  }

  it.effect("an open circuit whose time is over is evicted before new keys share one (F16)", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("overdue", { ...one, capacity: 1 })
      yield* fail(keyed, "a")
      yield* TestClock.adjust("10 seconds")
      yield* ok(keyed, "b")
      assert.strictEqual(keyed.get("b").circuit, "overdue/b")
    }))

  it.effect("a thousand sick keys do not make strangers share a circuit, and that the capacity is reached is said once (F16)", () =>
    withCapacity((lines) =>
      Effect.gen(function*() {
        const keyed = yield* makeKeyed("http", { capacity: 1000 })
        const events = yield* listen(keyed)
        for (let n = 0; n < 1000; n++) yield* fail(keyed, `sick ${n}`)
        assert.deepStrictEqual(lines, [])
        for (let n = 0; n < 5; n++) yield* fail(keyed, `failing ${n}`)
        assert.isTrue(yield* runs(keyed, "healthy"))
        assert.strictEqual(keyed.get("healthy").circuit, "http/healthy")
        assert.strictEqual(yield* keyed.size, 1000)
        yield* untilQuiet
        const said = { capacity: 1000, action: "evicts" } as const
        assert.deepStrictEqual(lines, [["Warn", { breaker: "http", ...said }]])
        const capacity = (yield* events).filter(({ _tag }) => _tag === "Capacity")
        assert.deepStrictEqual(capacity, [{ _tag: "Capacity", circuit: "http", ...said }])
      })
    ))

  for (
    const [overflow, action] of [["evictIdle", "shares"], ["shareOne", "shares"], ["passThrough", "passes"]] as const
  ) {
    it.effect(`under ${overflow}, that new keys have no circuit of their own is said once (F16)`, () =>
      withCapacity((lines) =>
        Effect.gen(function*() {
          const keyed = yield* makeKeyed("said", { ...one, capacity: 1, overflow })
          const events = yield* listen(keyed)
          yield* fail(keyed, "a")
          for (const key of ["b", "c", "b"]) yield* ok(keyed, key)
          yield* untilQuiet
          assert.deepStrictEqual(lines, [["Warn", { breaker: "said", capacity: 1, action }]])
          assert.strictEqual((yield* events).filter(({ _tag }) => _tag === "Capacity").length, 1)
        })
      ))
  }

  it.effect("the error of the shared circuit says that it is shared, by its name, too (F16)", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("crowd/ed", { ...one, capacity: 1 })
      yield* fail(keyed, "a")
      yield* fail(keyed, "b")
      const error = yield* Effect.flip(keyed.wrap(Effect.void, { key: "c" }))
      assert.deepInclude(error, { circuit: "crowd~1ed~overflow", overflow: true })
      assert.strictEqual(
        String(error),
        "effect-breaker/Breaker/BreakerOpenError: Circuit \"crowd~1ed~overflow\", which all keys without a circuit of their own " +
          "share, is open: 1 consecutive failures (retry after 10 s)"
      )
    }))

  it.effect("a new key looks at a sample of the circuits, however many there are (F16)", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("storm", { ...one, capacity: 2000 })
      for (let n = 0; n < 2000; n++) yield* fail(keyed, `open ${n}`)
      const looks = vi.spyOn(Circuit.prototype, "lossAt")
      yield* Effect.addFinalizer(() => Effect.sync(() => looks.mockRestore()))
      for (let n = 0; n < 100; n++) yield* ok(keyed, `new ${n}`)
      assert.isAbove(looks.mock.calls.length, 0)
      assert.isAtMost(looks.mock.calls.length, 100 * 64)
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

describe("a key that returns after its circuit was evicted", () => {
  /** The batches of reports that a storage gets. */
  const watched = Effect.map(memory, (of) => {
    const link = new Link(of)
    const batches: Array<Parameters<Storage.Storage["sync"]>[0]> = []
    const storage: Storage.Storage = {
      ...link.storage,
      sync: (reports) => {
        batches.push(reports)
        return link.storage.sync(reports)
      }
    }
    return { of, link, batches, storage }
  })

  it.effect("no batch has two reports of one instance and circuit, and every outcome is counted (F12)", () =>
    Effect.gen(function*() {
      const { batches, link, of, storage } = yield* watched
      const keyed = yield* Breaker.makeKeyed("hosts", { capacity: 2, evidence: "pooled" }).pipe(
        Effect.provideService(Storage.Storage, storage)
      )
      const round = Effect.andThen(TestClock.adjust("1 second"), untilQuiet)
      const call = (key: string) =>
        Effect.flatMap(fork(ok(keyed, key)), (fiber) => Effect.andThen(round, Fiber.join(fiber)))
      for (const fault of [hanging, lostReply, undefined]) {
        yield* ok(keyed, "a")
        link.fault(fault, "sync")
        yield* round
        for (const key of ["b", "c", "a", "d", "a"]) yield* call(key)
        link.fault(undefined)
        yield* Effect.repeat(round, { times: 5 })
      }
      for (const batch of batches) {
        const names = batch.map(({ circuit, instance }) => `${instance} ${circuit}`)
        assert.strictEqual(new Set(names).size, names.length, names.join(", "))
      }
      const read = { instance: "reader", sequence: 0, generation: 0, delta: noDelta, withins: [] }
      const [synced] = yield* of.sync([{ circuit: "hosts/a", ...read }])
      assert.strictEqual(Result.getOrThrow(synced!.result).snapshot.lifetime.success, 9)
      assert.deepInclude((yield* keyed.get("a").snapshot).fleet, { lost: 0 })
    }))

  it.effect("a call that runs across the eviction keeps its place in the bulkhead (F12)", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("places", { idleTimeToLive: "1 minute", maxConcurrent: 1 })
      const gate = yield* Deferred.make<void>()
      const call = yield* fork(keyed.wrap(Deferred.await(gate), { key: "a" }))
      yield* TestClock.adjust("10 minutes")
      yield* ok(keyed, "b")
      assert.strictEqual(yield* keyed.size, 1)
      assert.isFalse(yield* runs(keyed, "a"), "the place is taken")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(call)
      assert.strictEqual((yield* keyed.get("a").snapshot).statistics.success, 1)
    }))

  it.effect("an operator's act in flight keeps the circuit that was evicted (F12)", () =>
    Effect.gen(function*() {
      const { link, storage } = yield* watched
      const keyed = yield* Breaker.makeKeyed("acted", { capacity: 1 }).pipe(
        Effect.provideService(Storage.Storage, storage)
      )
      yield* ok(keyed, "a")
      yield* TestClock.adjust("3 seconds")
      yield* untilQuiet
      const answered = yield* Deferred.make<void>()
      link.fault((request) => Effect.andThen(Deferred.await(answered), request), "change")
      const act = yield* fork(keyed.get("a").forceHalfOpen)
      yield* ok(keyed, "b")
      assert.strictEqual((yield* keyed.get("a").snapshot).statistics.success, 1)
      yield* Deferred.succeed(answered, undefined)
      yield* Fiber.join(act)
      assert.strictEqual(yield* keyed.get("a").state, "HalfOpen")
    }))

  it.effect("a breaker of a key that was got before the eviction is of the key's circuit after it (F12)", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("kept", { ...one, capacity: 1 })
      const kept = keyed.get("a")
      yield* ok(keyed, "b")
      yield* ok(keyed, "a")
      yield* Effect.exit(kept.wrap(Effect.fail("no")))
      assert.isFalse(yield* runs(keyed, "a"))
      assert.deepStrictEqual(yield* kept.snapshot, yield* keyed.get("a").snapshot)
    }))

  const keysOn = (fleet: FakeFleet, overflow: "evictIdle" | "passThrough" = "evictIdle") => {
    let now = 0
    const rule = { _tag: "ConsecutiveFailures", failures: 5 } as const
    const plan = {
      rule,
      windows: [],
      throttle: undefined,
      slowerThanMillis: undefined,
      openForMillis: () => 1000,
      maxOpenForMillis: 60_000,
      probes: 1,
      successes: 1,
      failures: 1,
      leaseMillis: 1000,
      rampMillis: 0
    }
    const { circuit: { shared } } = circuitOf(plan, () => now += 1000, fleet)
    return new Keys(shared, { capacity: 3, idleMillis: 60_000, overflow, neverOpenMoreThan: 1 })
  }

  it("an evicted circuit that is not quiet is taken back, and forgotten once it is quiet (F12)", () => {
    const fleet = new FakeFleet()
    const keys = keysOn(fleet)
    const first = keys.get("0")!
    first.join()
    fleet.isQuiet = false
    for (let n = 1; n <= 3; n++) keys.get(`${n}`)
    assert.strictEqual(keys.find("watched/0"), first)
    assert.strictEqual(keys.get("0"), first)
    fleet.isQuiet = true
    for (let n = 4; n <= 20; n++) keys.get(`${n}`)
    assert.strictEqual([...keys.all()].length, 3)
    assert.isUndefined(keys.find("watched/0"))
    assert.isUndefined(first.join())
    assert.notStrictEqual(keys.get("0"), first)
  })

  it("no more evicted circuits are kept than the capacity while the storage does not answer (F12)", () => {
    const fleet = new FakeFleet()
    fleet.isQuiet = false
    const keys = keysOn(fleet)
    for (let n = 0; n < 1000; n++) keys.get(`${n}`)!.join()
    assert.strictEqual([...keys.all()].length, 6)
    assert.strictEqual(new Set([...keys.all()].map(({ name }) => name)).size, 6)
    assert.strictEqual(fleet.ends, 1000 - 6)
  })

  it("an operator's look at a key whose calls pass by makes one circuit for it (F12)", () => {
    const fleet = new FakeFleet()
    fleet.isQuiet = false
    const keys = keysOn(fleet, "passThrough")
    for (let n = 0; n < 3; n++) keys.get(`${n}`)
    assert.isUndefined(keys.get("x"))
    const seen = keys.lookUp("x")
    seen.join()
    assert.strictEqual(keys.lookUp("x"), seen)
  })
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

  it.effect("keys of two breakers, and the circuits that keys share, never name the same circuit (F16)", () =>
    Effect.gen(function*() {
      const names = ["a", "a/b", "a~1b", "a~b", "a~0b", "/", "~", "a~overflow"]
      const keys = ["a", "b", "b/c", "c", "~1b", "/", "//", "~", "~overflow", "overflow"]
      const circuits = new Set<string>()
      for (const name of names) {
        const keyed = yield* makeKeyed(name, { capacity: keys.length, overflow: "shareOne" })
        for (const key of keys) circuits.add(keyed.get(key).circuit)
        circuits.add(keyed.get("one too many").circuit)
      }
      assert.strictEqual(circuits.size, names.length * (keys.length + 1))
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
    [{ neverOpenMoreThan: 1.5 }, /neverOpenMoreThan must be a rate in \[0, 1\], got 1.5/],
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
