/** A policy that changes while its breaker runs. */
import { assert, describe, it } from "@effect/vitest"
import { Config, Deferred, Duration, Effect, Exit, Fiber, Layer, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"
import * as Registry from "../src/Registry.ts"
import { failTimes, listen, make, makeKeyed, rejectionOf, untilQuiet } from "./utils.ts"

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

const succeedTimes = (breaker: Breaker.Breaker<unknown>, times: number) =>
  Effect.repeat(breaker.wrap(Effect.void), { times: times - 1 })

const windowsOf = (breaker: Breaker.Breaker<unknown>) =>
  Effect.map(
    breaker.snapshot,
    ({ windows }) => windows.map(({ calls, failures, slow }) => [calls, failures, slow])
  )

const streak = (failures: number) => Trip.consecutiveFailures(failures)
const rate = (within: Duration.Input, minimumCalls = 10) => Trip.failureRate({ threshold: 0.5, minimumCalls, within })

describe("a policy that is changed", () => {
  it.effect("the fields that differ are returned as text, published with a snapshot, and in the policy", () =>
    Effect.gen(function*() {
      const breaker = yield* make("changed", { trip: streak(3), openFor: "1 minute" })
      const events = yield* listen(breaker)
      const change = { trip: rate("30 seconds"), openFor: "10 seconds", halfOpen: { probes: 2 } } as const
      const changed = yield* breaker.reconfigure(change)
      assert.deepStrictEqual(changed, [
        { field: "trip", from: "3 consecutive failures", to: "failure rate 0.5 of at least 10 of calls within 30 s" },
        { field: "openFor", from: "60 s", to: "10 s" },
        { field: "halfOpen.probes", from: "1", to: "2" }
      ])
      const [event] = yield* events
      assert.deepInclude(event, { _tag: "Reconfigured", circuit: "changed", changed })
      assert.strictEqual(event?._tag === "Reconfigured" && event.snapshot?.state, "Closed")
      assert.deepStrictEqual<unknown>(yield* breaker.policy, { ...change, trip: change.trip })
    }))

  it.effect("an equal policy, however it is written, changes nothing and is no event", () =>
    Effect.gen(function*() {
      const breaker = yield* make("equal", { trip: streak(3), openFor: "1 minute" })
      const events = yield* listen(breaker)
      yield* failTimes(breaker, 2)
      const before = yield* breaker.snapshot
      assert.deepStrictEqual(yield* breaker.reconfigure({ openFor: 60_000, trip: streak(3), timeout: undefined }), [])
      assert.deepStrictEqual(yield* breaker.snapshot, before)
      assert.deepStrictEqual((yield* events).map(({ _tag }) => _tag), ["Failure", "Failure"])
    }))

  it.effect("the registry shows the policy in force and its fingerprint", () =>
    Effect.gen(function*() {
      const breaker = yield* make("registered", { openFor: "1 minute" })
      yield* breaker.reconfigure({ openFor: "5 seconds" })
      const [entry] = yield* Registry.breakers
      assert.strictEqual(yield* entry!.fingerprint, Breaker.fingerprint({ openFor: "5 seconds" }))
      assert.strictEqual((yield* entry!.policy).openFor, "5 seconds")
    }).pipe(Effect.provide(Registry.layer)))

  it.effect("a field of Defaults and a schedule can be replaced", () =>
    Effect.gen(function*() {
      const breaker = yield* make("defaults", { openFor: Schedule.exponential("1 second") }).pipe(
        Effect.provideService(Breaker.Defaults, { trip: streak(2) })
      )
      const changed = yield* breaker.reconfigure({ openFor: "7 seconds", trip: streak(1) })
      assert.deepStrictEqual(changed.map(({ field, from, to }) => [field, from, to]), [
        ["trip", "2 consecutive failures", "1 consecutive failures"],
        ["openFor", "a schedule", "7 s"]
      ])
      yield* failTimes(breaker, 1)
      assert.strictEqual(Duration.toMillis((yield* breaker.snapshot).retryAfter!), 7000)
    }))
})

describe("a policy that is refused", () => {
  const refused = (breaker: Breaker.Breaker<unknown>, change: Breaker.Data) =>
    Effect.gen(function*() {
      const policy = yield* breaker.policy
      const snapshot = yield* breaker.snapshot
      const error = yield* Effect.flip(breaker.reconfigure(change))
      assert.instanceOf(error, Breaker.PolicyError)
      assert.deepStrictEqual(yield* breaker.policy, policy)
      assert.deepStrictEqual(yield* breaker.snapshot, snapshot)
      return error
    })

  it.effect("a policy that makes no sense is refused as a whole, with each problem", () =>
    Effect.gen(function*() {
      const breaker = yield* make("nonsense", { openFor: "1 minute", timeout: "1 second" })
      const error = yield* refused(breaker, { openFor: -1, timeout: "5 seconds", maxOpenFor: 0 })
      assert.strictEqual(error.circuit, "nonsense")
      assert.deepStrictEqual(error.problems.map(({ field, got }) => [field, got]), [["openFor", -1], ["maxOpenFor", 0]])
      assert.strictEqual(
        error.message,
        "Circuit \"nonsense\" keeps its policy: openFor must be a finite duration from 1 ms to 31536000000 ms, got -1; " +
          "maxOpenFor must be a finite duration from 1 ms to 31536000000 ms, got 0"
      )
    }))

  it.effect("fields that contradict those that stay are refused, and fields that do not exist", () =>
    Effect.gen(function*() {
      const breaker = yield* make("contradicts", { evidence: "pooled", maxOpenFor: "30 seconds" })
      const fields = (change: object) =>
        Effect.map(refused(breaker, change), ({ problems }) => problems.map(({ field }) => field))
      assert.deepStrictEqual(yield* fields({ openFor: "1 minute" }), ["maxOpenFor"])
      const trip = Trip.failureRate({ threshold: 0.5, minimumCalls: 5, lastCalls: 5 })
      assert.deepStrictEqual(yield* fields({ trip }), ["evidence"])
      assert.deepStrictEqual(yield* fields({ opnFor: 1 }), ["opnFor"])
      assert.deepStrictEqual(yield* fields({ classify: () => "Success" }), ["classify"])
      assert.deepStrictEqual(yield* fields({ capacity: 1 }), ["capacity"])
      assert.deepStrictEqual(yield* fields({ halfOpen: null }), ["halfOpen"])
      assert.deepStrictEqual(yield* fields(null as unknown as object), ["options"])
    }))

  it.effect("a field that adds an error to calls is refused where it was not declared, and taken where it was", () =>
    Effect.gen(function*() {
      const plain = yield* make("plain", {})
      const error = yield* refused(plain, { timeout: "1 second", maxConcurrent: 2, halfOpen: { timeout: 5 } })
      assert.deepStrictEqual(error.problems.map(({ field }) => field), ["timeout", "halfOpen.timeout", "maxConcurrent"])
      assert.include(error.message, "because calls can then fail with BreakerTimeoutError")
      yield* refused(plain, { consistency: "strict", onStorageError: "fail" })

      const declared = yield* make("declared", { timeout: Breaker.unset<Duration.Input>(), maxConcurrent: 1 })
      const changed = yield* declared.reconfigure({ timeout: "1 second", maxConcurrent: 2 })
      assert.deepStrictEqual(changed.map(({ field }) => field), [
        "halfOpen.lease",
        "halfOpen.timeout",
        "timeout",
        "maxConcurrent"
      ])
    }))

  it.effect("a policy that the storage cannot serve is refused", () =>
    Effect.gen(function*() {
      const breaker = yield* make("unfit", { evidence: "pooled", trip: rate("30 seconds") })
      const { problems } = yield* refused(breaker, { syncEvery: "1 minute" })
      assert.deepStrictEqual(problems.map(({ field }) => field), ["syncEvery"])
    }))
})

describe("a circuit whose policy changes", () => {
  it.effect("its streak stays, and the next outcome is judged by the new threshold", () =>
    Effect.gen(function*() {
      const breaker = yield* make("streak", { trip: streak(5) })
      yield* failTimes(breaker, 4)
      yield* breaker.reconfigure({ trip: streak(2) })
      assert.strictEqual(yield* breaker.state, "Closed")
      assert.strictEqual((yield* breaker.snapshot).statistics.consecutiveFailures, 4)
      yield* failTimes(breaker, 1)
      assert.strictEqual((yield* breaker.snapshot).why, "5 consecutive failures")
    }))

  it.effect("a window of the same span keeps its calls, and another begins empty", () =>
    Effect.gen(function*() {
      const breaker = yield* make("windows", { trip: rate("30 seconds", 100) })
      yield* succeedTimes(breaker, 5)
      yield* failTimes(breaker, 3)
      yield* breaker.reconfigure({ trip: Trip.any(rate("10 seconds"), rate("30 seconds", 50)) })
      assert.deepStrictEqual(yield* windowsOf(breaker), [[0, 0, 0], [8, 3, 0]])
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual(yield* windowsOf(breaker), [[1, 1, 0], [9, 4, 0]])
      yield* breaker.reconfigure({ trip: rate("30 seconds", 9) })
      assert.deepStrictEqual(yield* windowsOf(breaker), [[9, 4, 0]])
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Open")
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 5)
    }))

  it.effect("calls that were slow by another duration count as slow no longer, and stay in the window", () =>
    Effect.gen(function*() {
      const slow = (slowerThan: Duration.Input) =>
        Trip.slowCallRate({ slowerThan, threshold: 1, minimumCalls: 100, within: "1 minute" })
      const breaker = yield* make("slow", { trip: slow("1 second") })
      const call = yield* fork(breaker.wrap(Effect.sleep("2 seconds")))
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(call)
      assert.deepStrictEqual(yield* windowsOf(breaker), [[1, 0, 1]])
      yield* breaker.reconfigure({ openFor: "5 seconds" })
      assert.deepStrictEqual(yield* windowsOf(breaker), [[1, 0, 1]])
      yield* breaker.reconfigure({ trip: slow("3 seconds") })
      assert.deepStrictEqual(yield* windowsOf(breaker), [[1, 0, 0]])
      assert.isDefined((yield* breaker.snapshot).statistics.lastSuccessDuration)
      yield* breaker.reconfigure({ trip: rate("1 minute") })
      assert.isUndefined((yield* breaker.snapshot).statistics.lastSuccessDuration)
    }))

  it.effect("a call is slow by the policy that it was admitted under, be it none", () =>
    Effect.gen(function*() {
      const trip = Trip.slowCallRate({
        slowerThan: "1 second",
        threshold: 0.5,
        minimumCalls: 1,
        within: "1 minute"
      })
      const breaker = yield* make("not-slow", { trip: streak(5), timeout: "1 hour" })
      const call = yield* fork(breaker.wrap(Effect.sleep("10 seconds")))
      yield* breaker.reconfigure({ trip })
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(call)
      assert.strictEqual((yield* breaker.snapshot).statistics.slow, 0)
      const slow = yield* fork(breaker.wrap(Effect.sleep("10 seconds")))
      yield* TestClock.adjust("10 seconds")
      yield* Fiber.join(slow)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("an open time that runs stays, and the next opening lasts as the new policy says", () =>
    Effect.gen(function*() {
      const breaker = yield* make("open", { trip: streak(1), openFor: "1 minute" })
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("10 seconds")
      yield* breaker.reconfigure({ openFor: "5 seconds" })
      const { openings, retryAfter } = yield* breaker.snapshot
      assert.deepStrictEqual([openings, Duration.toSeconds(retryAfter!)], [1, 50])
      assert.strictEqual(Duration.toSeconds((yield* rejectionOf(breaker)).retryAfter!), 50)
      yield* TestClock.adjust("50 seconds")
      yield* failTimes(breaker, 1)
      const again = yield* breaker.snapshot
      assert.deepStrictEqual([again.openings, Duration.toSeconds(again.retryAfter!)], [2, 5])
    }))

  it.effect("an override and its expiry stay", () =>
    Effect.gen(function*() {
      const breaker = yield* make("overridden", {})
      yield* breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "ann", expiresIn: "1 minute" })
      yield* breaker.reconfigure({ trip: streak(1), openFor: "1 second" })
      const { override } = yield* breaker.snapshot
      assert.deepInclude(override, { mode: "ForcedOpen", actor: "ann" })
      assert.strictEqual(Duration.toSeconds(override!.expiresIn!), 60)
    }))

  const recovered = (name: string) =>
    Effect.gen(function*() {
      const policy = { trip: streak(1), openFor: "1 second", halfOpen: { ramp: "1 minute" } } as const
      const breaker = yield* make(name, policy)
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("1 second")
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("30 seconds")
      return breaker
    })

  it.effect("a ramp that is under way takes the new length, and ends where there is none", () =>
    Effect.gen(function*() {
      const longer = yield* recovered("longer")
      yield* longer.reconfigure({ halfOpen: { ramp: "5 minutes" } })
      assert.strictEqual(Duration.toSeconds((yield* longer.snapshot).retryAfter!), 270)
      const none = yield* recovered("none")
      yield* none.reconfigure({ halfOpen: { ramp: 0 } })
      assert.isUndefined((yield* none.snapshot).retryAfter)
      yield* succeedTimes(none, 10)
    }))

  it.effect("a ramp that is over does not begin again, and none begins in a closed circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* recovered("over")
      yield* TestClock.adjust("30 seconds")
      yield* breaker.reconfigure({ halfOpen: { ramp: "1 hour" } })
      assert.isUndefined((yield* breaker.snapshot).retryAfter)
      yield* succeedTimes(breaker, 10)
    }))

  it.effect("probes that run keep their places, and no other begins until enough of them are free", () =>
    Effect.gen(function*() {
      const half = { probes: 3, successes: 3, lease: "10 seconds" } as const
      const breaker = yield* Breaker.make("probes", { trip: streak(1), openFor: "1 second", halfOpen: half })
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("1 second")
      const gate = yield* Deferred.make<void>()
      const probe = () => fork(breaker.wrap(Deferred.await(gate)))
      const fibers = []
      for (let i = 0; i < 3; i++) {
        fibers.push(yield* probe())
        yield* TestClock.adjust("1 second")
      }
      yield* breaker.reconfigure({ halfOpen: { probes: 1, successes: 1, lease: "1 minute" } })
      assert.strictEqual((yield* rejectionOf(breaker)).state, "HalfOpen")
      // The third to begin is the last to free its place: the others leave as many as the new policy has.
      assert.strictEqual(Duration.toSeconds((yield* breaker.snapshot).retryAfter!), 9)
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(fibers, Fiber.join)
      assert.strictEqual(yield* breaker.state, "Closed")
    }).pipe(Effect.provide(Storage.NullStorageLive)))
})

describe("calls that run while the policy changes", () => {
  it.effect("a call keeps the timeout that it was admitted with", () =>
    Effect.gen(function*() {
      const breaker = yield* make("timeouts", { timeout: "10 seconds", trip: streak(100) })
      const call = () => fork(Effect.exit(breaker.wrap(Effect.never)))
      const before = yield* call()
      yield* breaker.reconfigure({ timeout: "1 second" })
      const after = yield* call()
      yield* TestClock.adjust("1 second")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(after)))
      assert.isUndefined(before.pollUnsafe())
      yield* TestClock.adjust("9 seconds")
      assert.isTrue(Exit.isFailure(yield* Fiber.join(before)))
      assert.strictEqual((yield* breaker.snapshot).statistics.timeout, 2)
    }))

  it.effect("more may run than a smaller bulkhead has places, and none begins until there is one", () =>
    Effect.gen(function*() {
      const breaker = yield* make("smaller", { maxConcurrent: 3 })
      const gates = yield* Effect.forEach([0, 1, 2], () => Deferred.make<void>())
      const calls = yield* Effect.forEach(gates, (gate) => fork(breaker.wrap(Deferred.await(gate))))
      yield* breaker.reconfigure({ maxConcurrent: 1 })
      const full = () => Effect.flip(breaker.wrap(Effect.die("ran")))
      for (const [i, gate] of gates.entries()) {
        assert.instanceOf(yield* full(), Breaker.BulkheadFullError)
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(calls[i]!)
      }
      yield* breaker.wrap(Effect.void)
    }))

  it.effect("a call that began without a bulkhead has no place in it, and takes none with it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("introduced", { maxConcurrent: Breaker.unset<number>() })
      const gate = yield* Deferred.make<void>()
      const before = yield* fork(breaker.wrap(Deferred.await(gate)))
      yield* breaker.reconfigure({ maxConcurrent: 1 })
      const held = yield* fork(breaker.wrap(Deferred.await(gate)))
      assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BulkheadFullError)
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(before)
      yield* Fiber.join(held)
      const again = yield* Deferred.make<void>()
      const one = yield* fork(breaker.wrap(Deferred.await(again)))
      assert.instanceOf(yield* Effect.flip(breaker.wrap(Effect.void)), Breaker.BulkheadFullError)
      yield* Deferred.succeed(again, undefined)
      yield* Fiber.join(one)
      assert.strictEqual((yield* breaker.snapshot).concurrent, 0)
    }))

  it.effect("a permit in hand keeps its timeout and its place", () =>
    Effect.gen(function*() {
      const breaker = yield* make("in-hand", { timeout: "10 seconds", maxConcurrent: 1 })
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* breaker.permit
        yield* breaker.reconfigure({ timeout: "1 second", maxConcurrent: 2 })
        assert.strictEqual(Duration.toSeconds(permit.timeout!), 10)
        const other = yield* breaker.permit
        assert.strictEqual(Duration.toSeconds(other.timeout!), 1)
        assert.instanceOf(yield* Effect.flip(breaker.permit), Breaker.BulkheadFullError)
      }))
      yield* Effect.scoped(Effect.andThen(breaker.permit, breaker.permit))
    }))

  it.effect("who waits for a permit looks again when the policy changes", () =>
    Effect.gen(function*() {
      const breaker = yield* make("waiting", { maxConcurrent: 1 })
      yield* Effect.scoped(Effect.gen(function*() {
        yield* breaker.permit
        const waiting = yield* fork(Effect.scoped(breaker.awaitPermit))
        yield* untilQuiet
        assert.isUndefined(waiting.pollUnsafe())
        yield* breaker.reconfigure({ maxConcurrent: 2 })
        yield* untilQuiet
        assert.isDefined(waiting.pollUnsafe())
      }))
    }))

  it.effect("outcomes of calls that ran while the policy changed are counted once and judged by the new one", () =>
    Effect.gen(function*() {
      const breaker = yield* make("judged", { trip: streak(5) })
      const gate = yield* Deferred.make<void>()
      const failing = Effect.andThen(Deferred.await(gate), Effect.fail("no"))
      const calls = yield* Effect.forEach([0, 1], () => fork(Effect.exit(breaker.wrap(failing))))
      yield* breaker.reconfigure({ trip: rate("1 minute", 2) })
      yield* Deferred.succeed(gate, undefined)
      yield* Effect.forEach(calls, Fiber.join)
      const { state, statistics } = yield* breaker.snapshot
      assert.deepStrictEqual([state, statistics.failure], ["Open", 2])
    }))
})

describe("enforcement that changes", () => {
  it.effect("an open circuit rejects nothing under metricsOnly, and takes probes again when it is enforced", () =>
    Effect.gen(function*() {
      const breaker = yield* make("weaker", { trip: streak(1), openFor: "1 minute" })
      yield* failTimes(breaker, 1)
      yield* rejectionOf(breaker)
      yield* breaker.reconfigure({ enforcement: "metricsOnly" })
      yield* breaker.wrap(Effect.void)
      assert.deepInclude(yield* breaker.snapshot, { state: "Open", enforcement: "metricsOnly" })
      yield* breaker.reconfigure({ enforcement: "enforce" })
      yield* rejectionOf(breaker)
      yield* TestClock.adjust("1 minute")
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("a call that began before opens nothing under metricsOnly", () =>
    Effect.gen(function*() {
      const breaker = yield* make("running", { trip: streak(1) })
      const gate = yield* Deferred.make<void>()
      const call = yield* fork(Effect.exit(breaker.wrap(Effect.andThen(Deferred.await(gate), Effect.fail("no")))))
      const events = yield* listen(breaker)
      yield* breaker.reconfigure({ enforcement: "metricsOnly" })
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(call)
      assert.strictEqual(yield* breaker.state, "Closed")
      const transitions = (yield* events).flatMap((event) => event._tag === "Transition" ? [event.reason] : [])
      assert.deepStrictEqual(transitions, ["1 consecutive failures (metrics only)"])
    }))
})

describe("a keyed breaker whose policy changes", () => {
  it.effect("all circuits have the new policy, those that live and those to come", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("keyed", { trip: streak(5), capacity: 10 })
      const fail = (key: string) => Effect.ignore(keyed.wrap(Effect.fail("no"), { key }))
      yield* fail("a")
      const events = yield* listen(keyed)
      const changed = yield* keyed.reconfigure({ trip: streak(2), capacity: 5, idleTimeToLive: "1 minute" })
      assert.deepStrictEqual(changed.map(({ field, to }) => [field, to]), [
        ["trip", "2 consecutive failures"],
        ["capacity", "5"],
        ["idleTimeToLive", "60 s"]
      ])
      assert.deepStrictEqual(yield* events, [{ _tag: "Reconfigured", circuit: "keyed", changed, snapshot: undefined }])
      assert.strictEqual((yield* keyed.policy).capacity, 5)
      assert.deepStrictEqual((yield* keyed.get("a").policy).trip, streak(2))
      yield* fail("a")
      yield* Effect.andThen(fail("b"), fail("b"))
      assert.deepStrictEqual((yield* keyed.entries).map(({ key, snapshot }) => [key, snapshot.state]), [
        ["a", "Open"],
        ["b", "Open"]
      ])
    }))

  it.effect("of more circuits than a smaller capacity, those go that are missed the least", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("shrinks", { trip: streak(2), openFor: "1 minute", overflow: "shareOne" })
      const call = (key: string, effect: Effect.Effect<void, string> = Effect.void) =>
        Effect.ignore(keyed.wrap(effect, { key }))
      const gate = yield* Deferred.make<void>()
      const running = yield* fork(call("running", Deferred.await(gate)))
      yield* Effect.andThen(call("open", Effect.fail("no")), call("open", Effect.fail("no")))
      yield* call("failed", Effect.fail("no"))
      yield* call("old")
      yield* TestClock.adjust("2 seconds")
      yield* call("recent")
      yield* keyed.reconfigure({ capacity: 3 })
      const keys = Effect.map(keyed.entries, (entries) => entries.map(({ key }) => key).toSorted())
      assert.deepStrictEqual(yield* keys, ["failed", "open", "running"])
      yield* keyed.reconfigure({ capacity: 1 })
      assert.deepStrictEqual(yield* keys, ["open", "running"])
      assert.strictEqual(keyed.get("new").circuit, "shrinks~overflow")
      yield* Deferred.succeed(gate, undefined)
      yield* Fiber.join(running)
      yield* keyed.reconfigure({ capacity: 3 })
      assert.strictEqual(keyed.get("new").circuit, "shrinks/new")
    }))

  it.effect("a shorter idle time holds for circuits that live", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("idle", {})
      yield* keyed.wrap(Effect.void, { key: "a" })
      yield* TestClock.adjust("2 minutes")
      yield* keyed.wrap(Effect.void, { key: "b" })
      assert.strictEqual(yield* keyed.size, 2)
      yield* keyed.reconfigure({ idleTimeToLive: "1 minute" })
      yield* keyed.wrap(Effect.void, { key: "c" })
      assert.deepStrictEqual((yield* keyed.entries).map(({ key }) => key), ["b", "c"])
    }))

  it.effect("options that make no sense are refused", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("keeps", { capacity: 10 })
      const { problems } = yield* Effect.flip(keyed.reconfigure({ capacity: 0, idleTimeToLive: -1 }))
      assert.deepStrictEqual(problems.map(({ field }) => field), ["capacity", "idleTimeToLive"])
      assert.strictEqual((yield* keyed.policy).capacity, 10)
    }))
})

describe("service classes", () => {
  class Payments extends Breaker.Service<Payments>()("reconfigured-payments", {
    trip: streak(3),
    timeout: Breaker.unset<Duration.Input>()
  }) {}
  class Hosts extends Breaker.KeyedService<Hosts>()("reconfigured-hosts", { trip: streak(3) }) {}

  it.effect("classes reconfigure the breaker that is provided", () =>
    Effect.gen(function*() {
      assert.deepStrictEqual((yield* Payments.reconfigure({ timeout: "1 second" })).map(({ field }) => field), [
        "halfOpen.lease",
        "halfOpen.timeout",
        "timeout"
      ])
      assert.strictEqual((yield* (yield* Payments).policy).timeout, "1 second")
      yield* Hosts.reconfigure({ openFor: "3 seconds", capacity: 7 })
      assert.deepInclude(yield* (yield* Hosts).policy, { openFor: "3 seconds", capacity: 7 })
    }).pipe(Effect.provide(Layer.mergeAll(Payments.layer, Hosts.layer)), Effect.provide(Storage.MemoryStorageLive)))

  it.effect("what the class declares holds, whatever its config has set", () =>
    Effect.gen(function*() {
      class Plain extends Breaker.Service<Plain>()("reconfigured-plain", { consistency: "local" }) {}
      const live = Plain.layerConfig({ consistency: Config.succeed("strict" as const) })
      yield* Effect.gen(function*() {
        const { reconfigure } = yield* Plain
        const { problems } = yield* Effect.flip(reconfigure({ onStorageError: "fail", timeout: 1 }))
        assert.deepStrictEqual(problems.map(({ field }) => field), ["timeout", "consistency with onStorageError"])
      }).pipe(Effect.provide(live), Effect.provide(Storage.MemoryStorageLive))
    }))

  it.effect("a test's breaker takes a policy as well, and its state does not follow", () =>
    Effect.gen(function*() {
      const changed = yield* Payments.reconfigure({ trip: streak(1) })
      assert.deepStrictEqual(changed.map(({ field }) => field), ["trip"])
      assert.deepStrictEqual((yield* (yield* Payments).policy).trip, streak(1))
      yield* Effect.flip(Payments.reconfigure({ openFor: -1 }))
      yield* Effect.exit(Payments.wrap(Effect.fail("no")))
      assert.strictEqual(yield* (yield* Payments).state, "Closed")
      yield* Hosts.reconfigure({ capacity: 1 })
      assert.strictEqual((yield* (yield* Hosts).policy).capacity, 1)
    }).pipe(Effect.provide([Payments.layerTest(), Hosts.layerTest()])))

  it.effect("the default breaker takes a timeout, because its type has the error", () =>
    Effect.gen(function*() {
      const breaker = yield* Breaker.Breaker
      yield* breaker.reconfigure({ timeout: "1 second", maxConcurrent: 1 })
      yield* Effect.flip(breaker.reconfigure({ consistency: "strict", onStorageError: "fail" }))
    }).pipe(Effect.provide(Breaker.layer("default", {})), Effect.provide(Storage.MemoryStorageLive)))
})
