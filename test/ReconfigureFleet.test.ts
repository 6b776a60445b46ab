/** Instances of a fleet whose policies change while they run. */
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Logger, References } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"
import { Link, memory } from "./support/storages.ts"
import { failTimes, untilQuiet } from "./utils.ts"

const policy = { trip: Trip.consecutiveFailures(2), openFor: "30 seconds" } as const

const rounds = (count: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: count - 1 })

const succeedTimes = (breaker: Breaker.Breaker<unknown>, times: number) =>
  Effect.repeat(breaker.wrap(Effect.void), { times: times - 1 })

/** Runs with a logger that keeps the lines about policies that differ, by the fingerprint of who says so. */
const withDrift = <A, E, R>(f: (told: ReadonlyArray<unknown>) => Effect.Effect<A, E, R>): Effect.Effect<A, E, R> =>
  Effect.suspend(() => {
    const told: Array<unknown> = []
    const logger = Logger.make<unknown, void>(({ fiber, message }) => {
      if (String(message) === messages.policiesDiffer.text) {
        told.push(fiber.getRef(References.CurrentLogAnnotations)["fingerprint"])
      }
    })
    return Effect.provide(f(told), Logger.layer([logger]))
  })

const unavailable = new Storage.StorageError({ operation: "probe", reason: "Unavailable", cause: "lost" })

const two = Effect.gen(function*() {
  const storage = yield* memory
  const links = [new Link(storage), new Link(storage)] as const
  const a = yield* links[0].make("shared", policy)
  const b = yield* links[1].make("shared", policy)
  yield* Effect.all([a.wrap(Effect.void), b.wrap(Effect.void)])
  yield* rounds(2)
  return { a, b, links }
})

/** Opens the circuit by this instance, and resets it. */
const trip = (breaker: Breaker.Breaker<unknown>) =>
  Effect.gen(function*() {
    yield* failTimes(breaker, 2)
    yield* rounds(3)
    assert.strictEqual((yield* breaker.snapshot).fleet?.state, "Open")
    yield* breaker.reset
    yield* untilQuiet
  })

describe("the fingerprint of a policy that changes", () => {
  it.effect("a change of the policy makes no generation, and later changes have its fingerprint", () =>
    Effect.gen(function*() {
      const { a, links: [link] } = yield* two
      const { changes } = link
      const before = (yield* a.snapshot).fleet!.generation
      yield* a.reconfigure({ openFor: "40 seconds" })
      yield* rounds(2)
      assert.strictEqual((yield* a.snapshot).fleet!.generation, before)
      assert.lengthOf(changes, 0)
      yield* failTimes(a, 2)
      yield* rounds(3)
      const [tripped] = changes
      assert.strictEqual(
        tripped?._tag === "Trip" && tripped.fingerprint,
        Breaker.fingerprint({ ...policy, openFor: "40 seconds" })
      )
    }))

  it.effect("instances that are changed one after the other within a minute are no drift, on either side", () =>
    withDrift((told) =>
      Effect.gen(function*() {
        const { a, b } = yield* two
        yield* a.reconfigure({ openFor: "40 seconds" })
        // Each meets a change that was made by the policy that it does not have.
        yield* trip(b)
        yield* trip(a)
        yield* TestClock.adjust("30 seconds")
        yield* b.reconfigure({ openFor: "40 seconds" })
        yield* TestClock.adjust("10 minutes")
        yield* Effect.all([a.wrap(Effect.void), b.wrap(Effect.void)])
        yield* rounds(2)
        yield* trip(b)
        yield* trip(a)
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(told, [])
      })
    ))

  it.effect("an instance that was left behind is told by both sides, once each", () =>
    withDrift((told) =>
      Effect.gen(function*() {
        const { a, b } = yield* two
        yield* a.reconfigure({ openFor: "40 seconds" })
        yield* trip(a)
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(told, [Breaker.fingerprint(policy)])
        for (let i = 0; i < 3; i++) yield* trip(b)
        yield* TestClock.adjust("2 minutes")
        assert.deepStrictEqual(told, [
          Breaker.fingerprint(policy),
          Breaker.fingerprint({ ...policy, openFor: "40 seconds" })
        ])
      })
    ))
})

const rate = (within: Breaker.Data["openFor"] & {}, minimumCalls: number) =>
  Trip.failureRate({ threshold: 0.5, minimumCalls, within })

describe("pooled evidence and a policy that changes", () => {
  const fleetWindows = (breaker: Breaker.Breaker<unknown>) =>
    Effect.map(breaker.snapshot, ({ fleet }) => fleet!.windows.map(({ calls, failures }) => [calls, failures]))

  it.effect("spans of one width share what the fleet has counted, and another width begins with what comes", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("widths", { trip: rate("30 seconds", 1000), evidence: "pooled" })
      yield* succeedTimes(breaker, 4)
      yield* rounds(2)
      assert.deepStrictEqual(yield* fleetWindows(breaker), [[4, 0]])
      // Counted in seconds, as before; and in tens of seconds.
      yield* breaker.reconfigure({ trip: Trip.any(rate("20 seconds", 1000), rate("5 minutes", 1000)) })
      assert.deepStrictEqual(yield* fleetWindows(breaker), [[0, 0], [0, 0]])
      yield* succeedTimes(breaker, 3)
      yield* rounds(2)
      assert.deepStrictEqual(yield* fleetWindows(breaker), [[7, 0], [3, 0]])
      assert.deepStrictEqual(link.reports.at(-1)!.withins, [20_000, 300_000])
    }))

  it.effect("an answer over the spans of the policy before is not judged by the new one", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const wide = { trip: rate("5 minutes", 1000), evidence: "pooled" } as const
      const breaker = yield* link.make("late", wide)
      yield* failTimes(breaker, 5)
      yield* rounds(2)
      assert.deepStrictEqual(yield* fleetWindows(breaker), [[5, 5]])
      const gate = yield* Deferred.make<void>()
      link.fault((request) => Effect.andThen(Deferred.await(gate), request), "sync")
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("1 second")
      // Its answer has the five failures as the totals of the first span.
      yield* breaker.reconfigure({ trip: rate("20 seconds", 2) })
      link.fault(undefined)
      yield* Deferred.succeed(gate, undefined)
      yield* untilQuiet
      assert.deepStrictEqual(yield* fleetWindows(breaker), [[0, 0]])
      yield* rounds(5)
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* failTimes(breaker, 2)
      yield* rounds(4)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("a circuit that reported no successes so far dilutes no window with those of its past", () =>
    Effect.gen(function*() {
      const reports = "every interval"
      const breaker = yield* Breaker.make("past", { trip: Trip.consecutiveFailures(100), evidence: "any", reports })
      const other = yield* Breaker.make("past", { trip: rate("20 seconds", 4), evidence: "pooled", reports })
      yield* succeedTimes(breaker, 1000)
      yield* TestClock.adjust("5 minutes")
      yield* breaker.reconfigure({ evidence: "pooled" })
      yield* rounds(3)
      yield* other.wrap(Effect.void)
      yield* rounds(2)
      assert.deepStrictEqual(yield* fleetWindows(other), [[1, 0]])
      assert.strictEqual((yield* other.snapshot).fleet!.statistics.success, 1001)
      // From here on its outcomes are evidence.
      yield* succeedTimes(breaker, 2)
      yield* rounds(2)
      yield* other.wrap(Effect.void)
      yield* rounds(2)
      assert.strictEqual((yield* other.snapshot).fleet!.statistics.success, 1004)
    }).pipe(Effect.provide(Storage.MemoryStorageLive)))
})

describe("rounds and views of a policy that changes", () => {
  it.effect("reports go at the new interval, and what waits is not lost", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("interval", { ...policy, syncEvery: "30 seconds" })
      yield* breaker.wrap(Effect.void)
      yield* untilQuiet
      yield* succeedTimes(breaker, 3)
      yield* breaker.reconfigure({ syncEvery: "2 seconds" })
      yield* TestClock.adjust("2 seconds")
      yield* untilQuiet
      assert.strictEqual((yield* breaker.snapshot).fleet!.statistics.success, 4)
      yield* breaker.reconfigure({ syncEvery: "20 seconds" })
      const sent = link.sent.length
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("19 seconds")
      yield* untilQuiet
      assert.strictEqual(link.sent.length, sent)
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      assert.strictEqual((yield* breaker.snapshot).fleet!.statistics.success, 5)
    }))

  it.effect("a failure that is about to be reported is reported as soon", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("soon", { ...policy, syncEvery: "30 seconds" })
      yield* breaker.wrap(Effect.void)
      yield* untilQuiet
      yield* failTimes(breaker, 1)
      yield* breaker.reconfigure({ syncEvery: "20 seconds" })
      yield* TestClock.adjust("50 millis")
      yield* untilQuiet
      assert.strictEqual((yield* breaker.snapshot).fleet!.statistics.failure, 1)
    }))

  it.effect("under strict each call loads the view; one that was admitted before does not wait after its end", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("strict", { ...policy, timeout: "1 minute" })
      yield* breaker.wrap(Effect.void)
      yield* untilQuiet
      const gate = yield* Deferred.make<void>()
      const before = yield* Effect.forkChild(breaker.wrap(Deferred.await(gate)), { startImmediately: true })
      yield* breaker.reconfigure({ consistency: "strict" })
      link.fault(() => Effect.never, "sync")
      yield* Deferred.succeed(gate, undefined)
      yield* untilQuiet
      assert.isDefined(before.pollUnsafe())
      link.fault(undefined)
      const sent = link.sent.length
      yield* breaker.wrap(Effect.void)
      assert.isAbove(link.sent.length, sent)
      yield* Fiber.join(before)
    }))

  it.effect("more probes than before may run at once, without waiting for a place of the former policy", () =>
    Effect.gen(function*() {
      const { a, links: [link] } = yield* two
      yield* failTimes(a, 2)
      yield* rounds(3)
      yield* TestClock.adjust("30 seconds")
      const gate = yield* Deferred.make<void>()
      const probe = () => Effect.forkChild(a.wrap(Deferred.await(gate)), { startImmediately: true })
      const first = yield* probe()
      yield* untilQuiet
      yield* Effect.flip(a.wrap(Effect.die("ran")))
      yield* a.reconfigure({ halfOpen: { probes: 2, successes: 2 } })
      const second = yield* probe()
      yield* untilQuiet
      yield* Effect.flip(a.wrap(Effect.die("ran")))
      assert.deepStrictEqual(link.probes.flatMap((sent) => sent._tag === "Ask" ? [sent.probes] : []), [1, 1, 2, 2])
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.all([Fiber.join(first), Fiber.join(second)])
      yield* untilQuiet
      assert.strictEqual(yield* a.state, "Closed")
    }))

  it.effect("a lease that is asked for again is as long as it was asked for first, whatever the policy says now", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const half = { lease: "5 seconds" } as const
      const breaker = yield* link.make("asked", {
        trip: policy.trip,
        openFor: "1 second",
        halfOpen: half,
        evidence: "any"
      })
      yield* failTimes(breaker, 2)
      yield* rounds(2)
      const asks = () =>
        link.probes.flatMap((sent) => sent._tag === "Ask" ? [[sent.lease.sequence, sent.duration]] : [])
      // It is granted, and the answer is lost.
      link.fault((request) => Effect.andThen(request, Effect.fail(unavailable)), "probe")
      yield* Effect.flip(breaker.wrap(Effect.die("ran")))
      yield* breaker.reconfigure({ halfOpen: { lease: "1 minute" } })
      link.fault(undefined)
      yield* TestClock.adjust("2 seconds")
      const [[sequence] = []] = asks()
      yield* Effect.scoped(Effect.gen(function*() {
        yield* breaker.permit
        assert.deepStrictEqual(asks(), [[sequence, 5000], [sequence, 5000]])
      }))
      yield* untilQuiet
      // The next one is as long as the policy says.
      yield* TestClock.adjust("2 seconds")
      yield* Effect.scoped(breaker.permit)
      assert.deepStrictEqual(asks().at(-1)?.[1], 60_000)
    }))

  it.effect("what tripped the policy before does not count towards the interval of the new one", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("suspects", { ...policy, trip: Trip.consecutiveFailures(4), evidence: "pooled" })
      yield* breaker.wrap(Effect.void)
      yield* rounds(2)
      const suspects = yield* link.make("suspects", { ...policy, evidence: "pooled" })
      yield* suspects.wrap(Effect.void)
      yield* rounds(2)
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("100 millis")
      yield* untilQuiet
      yield* failTimes(suspects, 1)
      yield* TestClock.adjust("100 millis")
      yield* untilQuiet
      // One snapshot has tripped. The change comes before the second one.
      yield* TestClock.adjust("800 millis")
      yield* suspects.reconfigure({ openFor: "40 seconds" })
      yield* TestClock.adjust("1500 millis")
      yield* untilQuiet
      assert.strictEqual((yield* suspects.snapshot).fleet!.state, "Closed")
      yield* rounds(2)
      assert.strictEqual((yield* suspects.snapshot).fleet!.state, "Open")
    }))

  it.effect("fields that the storage cannot serve are told", () =>
    Effect.suspend(() => {
      const lines: Array<unknown> = []
      const logger = Logger.make<unknown, void>(({ fiber, message }) => {
        if (String(message) === messages.notFenced.text) {
          lines.push(fiber.getRef(References.CurrentLogAnnotations)["fields"])
        }
      })
      return Effect.gen(function*() {
        const breaker = yield* Breaker.make("alone", { evidence: "pooled" })
        yield* breaker.reconfigure({ openFor: "5 seconds" })
        yield* untilQuiet
        assert.deepStrictEqual(lines, ["evidence"])
        yield* breaker.reconfigure({ consistency: "strict" })
        yield* untilQuiet
        assert.deepStrictEqual(lines, ["evidence", "consistency, evidence"])
      }).pipe(Effect.provide(Storage.NullStorageLive), Effect.provide(Logger.layer([logger])))
    }))
})
