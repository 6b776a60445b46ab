import { assert, describe, it } from "@effect/vitest"
import { Deferred, Duration, Effect, Exit, Fiber, Layer, Stream } from "effect"
import { TestClock } from "effect/testing"
import { inspect } from "node:util"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { FaultyStorage } from "../src/testing.ts"
import { type Link, processes } from "./support/storages.ts"
import { failTimes, inBrief, listen, make, rejectionOf } from "./utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const
const said = { reason: "incident 42", actor: "oncall" } as const

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

describe("ForcedOpen", () => {
  it.effect("ForcedOpen rejects every call, however long it lasts, with the operator's reason and no retryAfter", () =>
    Effect.gen(function*() {
      const breaker = yield* make("forced", two)
      yield* failTimes(breaker, 1)
      yield* breaker.override({ mode: "ForcedOpen", ...said })
      for (let i = 0; i < 3; i++) {
        const error = yield* rejectionOf(breaker)
        assert.deepInclude(error, { state: "ForcedOpen", openedBy: "override", reason: "incident 42" })
        assert.isFalse("retryAfter" in error)
        assert.isFalse("lastFailure" in error)
        yield* TestClock.adjust("10 days")
      }
      const { override, state, statistics } = yield* breaker.snapshot
      assert.deepInclude(override, { mode: "ForcedOpen", ...said })
      assert.strictEqual(state, "Closed")
      assert.strictEqual(statistics.rejected, 3)
    }))

  it.effect("calls that end late do not change a ForcedOpen circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("isolated", two)
      const gates = [yield* Deferred.make<string, string>(), yield* Deferred.make<string, string>()] as const
      const fibers = yield* Effect.forEach(gates, (gate) => fork(Effect.exit(breaker.wrap(Deferred.await(gate)))))
      yield* breaker.override({ mode: "ForcedOpen", ...said })
      yield* Deferred.succeed(gates[0], "ok")
      yield* Deferred.fail(gates[1], "no")
      assert.deepStrictEqual(yield* Effect.forEach(fibers, Fiber.join), [Exit.succeed("ok"), Exit.fail("no")])
      yield* rejectionOf(breaker)
      yield* breaker.clearOverride({ actor: "oncall" })
      assert.strictEqual((yield* breaker.snapshot).statistics.consecutiveFailures, 0)
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))
})

describe("Disabled", () => {
  it.effect("Disabled admits every call, without recording, events, timeout and bulkhead", () =>
    Effect.gen(function*() {
      const breaker = yield* make("disabled", { ...two, timeout: "1 second", maxConcurrent: 1 })
      yield* failTimes(breaker, 2)
      yield* breaker.override({ mode: "Disabled", ...said })
      const received = yield* listen(breaker)
      const before = (yield* breaker.snapshot).statistics
      const fibers = [yield* fork(breaker.wrap(Effect.never)), yield* fork(breaker.wrap(Effect.never))]
      yield* TestClock.adjust("1 minute")
      for (const fiber of fibers) assert.isUndefined(fiber.pollUnsafe())
      yield* failTimes(breaker, 10)
      yield* breaker.wrap(Effect.void)
      yield* Effect.forEach(fibers, Fiber.interrupt)
      assert.deepStrictEqual((yield* breaker.snapshot).statistics, before)
      assert.deepStrictEqual(yield* received, [])
    }))
})

describe("MetricsOnly", () => {
  it.effect("MetricsOnly runs and records every call, and publishes where the circuit would have opened", () =>
    Effect.gen(function*() {
      const breaker = yield* make("metrics", { ...two, maxConcurrent: 1 })
      yield* breaker.override({ mode: "MetricsOnly", ...said })
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 3)
      yield* breaker.wrap(breaker.wrap(Effect.void))
      const events = yield* received
      assert.deepStrictEqual(events.map(inBrief), ["Failure", "Failure", "Closed > Closed", "Failure"])
      const would = events.find((event) => event._tag === "Transition")
      assert.strictEqual(would?.reason, "2 consecutive failures (metrics only)")
      assert.strictEqual(would?.snapshot.statistics.consecutiveFailures, 2)
      const { state, statistics } = yield* breaker.snapshot
      assert.strictEqual(state, "Closed")
      assert.deepInclude(statistics, { failure: 3, success: 2, timesOpened: 0, rejected: 0 })
    }))

  it.effect("MetricsOnly admits calls to an open circuit, whose state stays Open", () =>
    Effect.gen(function*() {
      const breaker = yield* make("beneath", two)
      yield* failTimes(breaker, 2)
      yield* breaker.override({ mode: "MetricsOnly", ...said })
      yield* breaker.wrap(Effect.void)
      yield* breaker.clearOverride({ actor: "oncall" })
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(10))
    }))
})

describe("an override", () => {
  it.effect("a call that is refused because of the state beneath publishes an override that has run out as expired (F15)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("beneath", { ...two, openFor: "1 hour" })
      yield* failTimes(breaker, 2)
      for (const mode of ["ForcedOpen", "Disabled", "MetricsOnly"] as const) {
        yield* breaker.override({ mode, ...said, expiresIn: "5 seconds" })
        const received = yield* listen(breaker)
        yield* TestClock.adjust("5 seconds")
        assert.isUndefined((yield* breaker.snapshot).override)
        for (let i = 0; i < 2; i++) assert.strictEqual((yield* rejectionOf(breaker)).state, "Open")
        const rejected = "Rejected by BreakerOpenError"
        assert.deepStrictEqual((yield* received).map(inBrief), [`${mode} expired`, rejected, rejected])
      }
    }))

  it.effect("who lifted an override is told, though another act follows before the storage has answered", () =>
    Effect.gen(function*() {
      const storage = Layer.fresh(FaultyStorage.layer(Storage.MemoryStorageLive))
      yield* Effect.gen(function*() {
        const breaker = yield* Breaker.make("lifted", two)
        yield* breaker.override({ mode: "ForcedOpen", ...said })
        const received = yield* listen(breaker)
        yield* FaultyStorage.set({ latency: "100 millis" })
        const lifting = yield* fork(breaker.clearOverride({ actor: "bo" }))
        const next = yield* fork(breaker.forceHalfOpen)
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(lifting)
        yield* Fiber.join(next)
        const told = (yield* received).flatMap((event) =>
          event._tag === "Override" ? [[event.change, event.actor]] : []
        )
        assert.deepStrictEqual(told, [["cleared", "bo"]])
      }).pipe(Effect.provide(storage))
    }))

  it.effect("an operator's act publishes an override that has run out as expired first, and once (F15)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("replaced", two)
      const acts = [
        breaker.override({ mode: "Disabled", reason: "other", actor: "other" }),
        breaker.clearOverride({ actor: "other" }),
        breaker.forceHalfOpen,
        breaker.reset
      ]
      const seen: Array<ReadonlyArray<string>> = []
      for (const act of acts) {
        yield* breaker.override({ mode: "ForcedOpen", ...said, expiresIn: "5 seconds" })
        yield* TestClock.adjust("5 seconds")
        const received = yield* listen(breaker)
        yield* act
        yield* Effect.ignore(breaker.wrap(Effect.void))
        seen.push((yield* received).map(inBrief).filter((event) => event.endsWith("expired") || event.endsWith("set")))
        yield* breaker.reset
        yield* breaker.clearOverride({ actor: "other" })
      }
      const expired = "ForcedOpen expired"
      assert.deepStrictEqual(seen, [[expired, "Disabled set"], [expired], [expired], [expired]])
    }))

  it.effect("a change of the fleet publishes an override that has run out as expired first, on each instance (F15)", () =>
    Effect.gen(function*() {
      const [one, other] = (yield* processes(2)) as [Link, Link]
      const here = yield* one.make("fleet", { ...two, openFor: "1 hour" })
      const there = yield* other.make("fleet", { ...two, openFor: "1 hour" })
      for (const breaker of [here, there]) yield* breaker.wrap(Effect.void)
      yield* here.override({ mode: "MetricsOnly", ...said, expiresIn: "5 seconds" })
      yield* TestClock.adjust("2 seconds")
      const received = yield* Effect.forEach([here, there], listen)
      yield* TestClock.adjust("4 seconds")
      yield* here.forceHalfOpen
      yield* TestClock.adjust("2 seconds")
      for (const events of received) {
        assert.deepStrictEqual((yield* events).map(inBrief), ["MetricsOnly expired", "Closed > HalfOpen"])
      }
    }))

  it.effect("an override expires to the millisecond, and the next call publishes it as expired", () =>
    Effect.gen(function*() {
      const breaker = yield* make("expires", two)
      const received = yield* listen(breaker)
      yield* breaker.override({ mode: "ForcedOpen", ...said, expiresIn: "10 minutes" })
      assert.deepStrictEqual((yield* breaker.snapshot).override?.expiresIn, Duration.minutes(10))
      yield* TestClock.adjust(599_999)
      yield* rejectionOf(breaker)
      yield* TestClock.adjust(1)
      assert.isUndefined((yield* breaker.snapshot).override)
      yield* breaker.wrap(Effect.void)
      const events = yield* received
      assert.deepStrictEqual(events.map(inBrief), [
        "ForcedOpen set",
        "Rejected by BreakerOpenError",
        "ForcedOpen expired"
      ])
      for (const event of [events[0], events[2]]) assert.deepInclude(event, said)
    }))

  it.effect("an override is replaced by the next, and cleared by any actor", () =>
    Effect.gen(function*() {
      const breaker = yield* make("replaced", two)
      const received = yield* listen(breaker)
      yield* breaker.override({ mode: "ForcedOpen", ...said, expiresIn: "1 second" })
      yield* rejectionOf(breaker)
      yield* breaker.override({ mode: "ForcedOpen", reason: "another", actor: "boss" })
      yield* TestClock.adjust("1 hour")
      assert.strictEqual((yield* rejectionOf(breaker)).reason, "another")
      yield* breaker.override({ mode: "Disabled", ...said })
      yield* breaker.wrap(Effect.void)
      yield* breaker.clearOverride({ actor: "a third" })
      yield* breaker.clearOverride({ actor: "again" })
      const overrides = (yield* received).filter((event) => event._tag === "Override")
      assert.deepStrictEqual(overrides.map(inBrief), [
        "ForcedOpen set",
        "ForcedOpen set",
        "Disabled set",
        "Disabled cleared"
      ])
      assert.deepInclude(overrides[3], { actor: "a third", reason: "incident 42" })
    }))

  it.effect("an override leaves the state below it, whose time keeps running", () =>
    Effect.gen(function*() {
      const breaker = yield* make("running", two)
      yield* failTimes(breaker, 2)
      yield* breaker.override({ mode: "ForcedOpen", ...said })
      yield* TestClock.adjust("4 seconds")
      yield* breaker.clearOverride({ actor: "oncall" })
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(6))
      yield* breaker.override({ mode: "ForcedOpen", ...said })
      yield* TestClock.adjust("6 seconds")
      yield* rejectionOf(breaker)
      yield* breaker.clearOverride({ actor: "oncall" })
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("an override of a half-open circuit frees the places of the running probes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("probes", two)
      yield* breaker.forceHalfOpen
      const probe = yield* fork(breaker.wrap(Effect.never))
      yield* breaker.override({ mode: "MetricsOnly", ...said })
      yield* breaker.clearOverride({ actor: "oncall" })
      yield* Fiber.interrupt(probe)
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  for (const expiresIn of [0, -1, Infinity, NaN, "soon"]) {
    it.effect(`an override that expires in ${expiresIn} is refused with field, value and range`, () =>
      Effect.gen(function*() {
        const breaker = yield* make("refused", two)
        const exit = yield* Effect.exit(
          Effect.suspend(() =>
            breaker.override({ mode: "ForcedOpen", ...said, expiresIn: expiresIn as Duration.Input })
          )
        )
        assert.match(String(exit), /RangeError: .*expiresIn must be a finite duration from 1 ms to 31536000000 ms, got/)
        yield* breaker.wrap(Effect.void)
      }))
  }
})

describe("an operator's input", () => {
  const text = (field: string, most: number) =>
    `${field} must be a text of 1 to ${most} characters on one line, without control characters, got`
  const bad: ReadonlyArray<readonly [options: unknown, message: string]> = [
    [{ ...said, mode: "Open" }, "mode must be one of ForcedOpen, Disabled, MetricsOnly, got \"Open\""],
    [{ ...said }, "mode must be one of ForcedOpen, Disabled, MetricsOnly, got undefined"],
    [{ mode: "Disabled", actor: "ann", reason: { a: 1 } }, `${text("reason", 1000)} {"a":1}`],
    [{ mode: "Disabled", actor: "ann" }, `${text("reason", 1000)} undefined`],
    [{ mode: "Disabled", actor: "ann", reason: "" }, text("reason", 1000)],
    [{ mode: "Disabled", actor: "ann", reason: "  " }, text("reason", 1000)],
    [{ mode: "Disabled", actor: "ann", reason: "x".repeat(1001) }, text("reason", 1000)],
    [{ mode: "Disabled", actor: "ann", reason: "a\nERROR forged" }, text("reason", 1000)],
    [{ mode: "Disabled", actor: "ann", reason: "a\0b" }, text("reason", 1000)],
    [{ mode: "Disabled", actor: "ann", reason: "\u001b[31mred" }, text("reason", 1000)],
    [{ mode: "Disabled", actor: "ann", reason: "\u202egnorts" }, text("reason", 1000)],
    [{ mode: "Disabled", actor: "ann", reason: "\ud800" }, text("reason", 1000)],
    [{ mode: "Disabled", reason: "r" }, `${text("actor", 200)} undefined`],
    [{ mode: "Disabled", reason: "r", actor: 7 }, `${text("actor", 200)} 7`],
    [{ mode: "Disabled", reason: "r", actor: "x".repeat(201) }, text("actor", 200)],
    [
      { mode: "Disabled", ...said, expiresIn: "400 days" },
      "expiresIn must be a finite duration from 1 ms to 31536000000 ms"
    ],
    [{ mode: "Disabled", ...said, expiresIn: null }, "expiresIn must be a finite duration from 1 ms to 31536000000 ms"],
    [
      { mode: "Disabled", ...said, expiresin: "1 hour" },
      "expiresin must be left out, because there is no such field (did you mean expiresIn?)"
    ],
    [{ mode: "Open", reason: 1, actor: 2 }, "got \"Open\"; reason must be"],
    [undefined, "options must be an object with the fields mode, reason, actor, expiresIn, got undefined"],
    ["ForcedOpen", "options must be an object with the fields mode, reason, actor, expiresIn, got \"ForcedOpen\""]
  ]

  // Nothing may reach a storage, so any request is a failure of the test.
  const untouched: Storage.Storage = {
    backend: "untouched",
    capabilities: { shared: true, durable: true, pushes: false, history: true, fences: true },
    idleTimeToLive: Duration.hours(1),
    sync: () => Effect.die("sync"),
    change: () => Effect.die("change"),
    probe: () => Effect.die("probe"),
    changes: Stream.empty,
    list: Stream.empty,
    history: () => Effect.die("history")
  }
  const storages = {
    memory: Storage.MemoryStorageLive,
    null: Storage.NullStorageLive,
    shared: Layer.succeed(Storage.Storage, untouched),
    chain: Storage.fallback([{ storage: Layer.succeed(Storage.Storage, untouched) }])
  }

  for (const [name, storage] of Object.entries(storages)) {
    for (const [options, message] of bad) {
      it.effect(`an override with ${inspect(options).slice(0, 60)} is refused on ${name}, eagerly (F31)`, () =>
        Effect.gen(function*() {
          const breaker = yield* Effect.provide(Breaker.make("refusing", two), storage)
          const keyed = yield* Effect.provide(Breaker.makeKeyed("refusing-keys", two), storage)
          for (const each of [breaker, keyed.get("a")]) {
            const act = () => each.override(options as Breaker.OverrideOptions)
            assert.throws(act, RangeError)
            assert.throws(act, message)
            assert.isUndefined((yield* each.snapshot).override)
          }
        }))
    }

    it.effect(`clearOverride without a usable actor is refused on ${name}, eagerly (F31)`, () =>
      Effect.gen(function*() {
        const breaker = yield* Effect.provide(Breaker.make("refusing", two), storage)
        for (const options of [undefined, {}, { actor: "" }, { actor: "a\nb" }, { actor: "ann", reason: "done" }]) {
          assert.throws(() => breaker.clearOverride(options as never), RangeError, /^clearOverride: /)
        }
      }))
  }

  it.effect("layerTest refuses the same input of an operator (F31)", () => {
    class Doubled extends Breaker.Service<Doubled>()("doubled", {}) {}
    return Effect.gen(function*() {
      const double = yield* Doubled
      for (const [options, message] of bad) {
        assert.throws(() => double.override(options as Breaker.OverrideOptions), message)
      }
      assert.throws(() => double.clearOverride({ actor: "" }), RangeError)
      yield* double.override({ mode: "ForcedOpen", ...said })
      yield* double.clearOverride({ actor: "oncall" })
    }).pipe(Effect.provide(Doubled.layerTest()))
  })

  it.effect("an override takes the longest reason and actor, in any script (F31)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("longest", two)
      const longest = { reason: `障害 👩‍🚒 ${"r".repeat(989)}`, actor: "a".repeat(200) }
      yield* breaker.override({ mode: "ForcedOpen", ...longest })
      assert.strictEqual((yield* rejectionOf(breaker)).reason, longest.reason)
    }))
})

describe("a circuit that nobody uses", () => {
  const storages = {
    memory: Storage.MemoryStorageLive,
    null: Storage.NullStorageLive,
    chain: Storage.fallback([{ storage: Storage.MemoryStorageLive }, { storage: Storage.MemoryStorageLive }])
  }
  const override = { mode: "ForcedOpen", ...said } as const

  for (const [name, storage] of Object.entries(storages)) {
    const keyed = Effect.provide(Breaker.makeKeyed("hosts", two), storage)

    it.effect(`an operator's act on a key that nobody uses is denied on ${name}, and leaves nothing (F32)`, () =>
      Effect.gen(function*() {
        const { list } = yield* Storage.Storage
        const hosts = yield* Breaker.makeKeyed("hosts", two)
        const typo = hosts.get("api.exmaple.com")
        const acts = [typo.override(override), typo.clearOverride({ actor: "oncall" }), typo.forceHalfOpen, typo.reset]
        for (const act of acts) {
          const error = yield* Effect.flip(act)
          assert.deepInclude(error, { _tag: "StorageError", reason: "Denied", circuit: "hosts/api.exmaple.com" })
          assert.include(error.message, "nobody uses a circuit of this name")
        }
        assert.deepStrictEqual(yield* Stream.runCollect(list), [])
        assert.deepInclude(yield* typo.snapshot, { state: "Closed" })
        assert.isUndefined((yield* typo.snapshot).override)
      }).pipe(Effect.provide(storage)))

    it.effect(`an operator's act on a key that nobody uses is made on ${name} with create (F32)`, () =>
      Effect.gen(function*() {
        const hosts = yield* keyed
        yield* hosts.get("new.test", { create: true }).override(override)
        const error = yield* Effect.flip(hosts.wrap(Effect.void, { key: "new.test" }))
        assert.strictEqual(error.state, "ForcedOpen")
        yield* hosts.get("new.test").clearOverride({ actor: "oncall" })
        yield* hosts.wrap(Effect.void, { key: "new.test" })
      }))

    it.effect(`an operator's act on a key that was called is made on ${name} (F32)`, () =>
      Effect.gen(function*() {
        const hosts = yield* keyed
        yield* hosts.wrap(Effect.void, { key: "called.test" })
        yield* hosts.get("called.test").override(override)
        assert.strictEqual((yield* Effect.flip(hosts.wrap(Effect.void, { key: "called.test" }))).state, "ForcedOpen")
      }))

    it.effect(`an operator's act on a service is made on ${name} before its first call (F32)`, () =>
      Effect.gen(function*() {
        const breaker = yield* Effect.provide(Breaker.make("payments", two), storage)
        yield* breaker.override(override)
        assert.strictEqual((yield* rejectionOf(breaker)).state, "ForcedOpen")
      }))
  }

  it.effect("an operator's act on a key that only another process uses is made (F32)", () =>
    Effect.gen(function*() {
      const [here, there] = [yield* Breaker.makeKeyed("hosts", two), yield* Breaker.makeKeyed("hosts", two)]
      yield* Effect.ignore(there.wrap(Effect.fail("no"), { key: "elsewhere.test" }))
      yield* TestClock.adjust("2 seconds")
      yield* here.get("elsewhere.test").override(override)
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* rejectionOf(there.get("elsewhere.test"))).state, "ForcedOpen")
    }).pipe(Effect.provide(Storage.MemoryStorageLive)))
})

describe("forceHalfOpen", () => {
  it.effect("forceHalfOpen admits probes at once, from open and from closed", () =>
    Effect.gen(function*() {
      const breaker = yield* make("half", two)
      yield* failTimes(breaker, 2)
      yield* breaker.forceHalfOpen
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* breaker.forceHalfOpen
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("calls that ran before forceHalfOpen do not change the circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("found", two)
      const gate = yield* Deferred.make<string>()
      const call = yield* fork(breaker.wrap(Deferred.await(gate)))
      yield* breaker.forceHalfOpen
      yield* Deferred.succeed(gate, "ok")
      yield* Fiber.join(call)
      assert.strictEqual(yield* breaker.state, "HalfOpen")
    }))
})

describe("reset", () => {
  it.effect("a reset closes from any state, with an empty window and no backoff, in one event", () =>
    Effect.gen(function*() {
      const trip = Trip.failureRate({ threshold: 0.5, lastCalls: 4, minimumCalls: 4 })
      const breaker = yield* make("reset", { trip })
      for (const into of [Effect.void, breaker.forceHalfOpen]) {
        yield* failTimes(breaker, 4)
        yield* into
        const received = yield* listen(breaker)
        yield* breaker.reset
        assert.strictEqual((yield* received).length, 1)
        const { openings, state, statistics, windows } = yield* breaker.snapshot
        assert.deepStrictEqual([state, openings, windows[0]?.calls], ["Closed", 0, 0])
        assert.strictEqual(statistics.consecutiveFailures, 0)
      }
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 8)
    }))

  it.effect("a reset empties the window of a closed circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("reset-closed", two)
      yield* failTimes(breaker, 1)
      yield* breaker.reset
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("a reset leaves an override", () =>
    Effect.gen(function*() {
      const breaker = yield* make("reset-forced", two)
      yield* breaker.override({ mode: "ForcedOpen", ...said })
      yield* breaker.reset
      assert.strictEqual((yield* rejectionOf(breaker)).state, "ForcedOpen")
    }))

  it.effect("a probe that ran before a reset does not undo it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("reset-probe", { ...two, halfOpen: { lease: "5 seconds" } })
      yield* breaker.forceHalfOpen
      const probe = yield* fork(
        Effect.exit(breaker.wrap(Effect.andThen(Effect.sleep("10 seconds"), Effect.fail("no"))))
      )
      yield* breaker.reset
      yield* TestClock.adjust("10 seconds")
      assert.deepStrictEqual(yield* Fiber.join(probe), Exit.fail("no"))
      assert.strictEqual(yield* breaker.state, "Closed")
      assert.strictEqual((yield* breaker.snapshot).statistics.consecutiveFailures, 0)
    }))
})
