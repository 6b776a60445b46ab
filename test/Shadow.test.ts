/** `enforcement: "metricsOnly"` in a policy: a breaker that starts without rejecting anything. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Duration, Effect, Exit, Fiber, Random, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Trip } from "../src/index.ts"
import type { StorageError } from "../src/Storage/Storage.ts"
import { failing, processes } from "./support/storages.ts"
import { failTimes, inBrief, listen, make, makeKeyed, rejectionOf, untilQuiet } from "./utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const
const shadow = { ...two, enforcement: "metricsOnly" } as const
const ran = Effect.succeed("ran")
const forcedOpen = { mode: "ForcedOpen", reason: "incident 42", actor: "oncall" } as const
const as = (mode: Breaker.EnforcementMode) => Effect.provideService(Breaker.Enforcement, mode)
const intervals = (count: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: count - 1 })

describe("the policy's metricsOnly", () => {
  it.effect("runs and records every call, and publishes where the circuit would have opened", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow", { ...shadow, maxConcurrent: 1 })
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 4)
      assert.strictEqual(yield* breaker.wrap(breaker.wrap(ran)), "ran")
      assert.deepStrictEqual((yield* received).map(inBrief), [
        "Failure",
        "Failure",
        "Closed > Closed",
        "Failure",
        "Failure",
        "Closed > Closed"
      ])
      const snapshot = yield* breaker.snapshot
      assert.deepInclude(snapshot, {
        state: "Closed",
        enforcement: "metricsOnly",
        why: "2 consecutive failures (metrics only)"
      })
      assert.deepInclude(snapshot.statistics, { failure: 4, success: 2, rejected: 0, timesOpened: 0 })
    }))

  it.effect("applies to each key of a keyed breaker, from its first call", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("shadow-keys", { ...shadow, trip: Trip.consecutiveFailures(1) })
      const received = yield* listen(keyed)
      for (const key of ["a", "b"]) {
        yield* Effect.exit(keyed.wrap(Effect.fail("no"), { key }))
        assert.strictEqual(yield* keyed.wrap(ran, { key }), "ran")
        assert.strictEqual((yield* keyed.get(key).snapshot).enforcement, "metricsOnly")
      }
      assert.deepStrictEqual(
        (yield* received).flatMap((event) => event._tag === "Transition" ? [`${event.circuit} ${inBrief(event)}`] : []),
        ["shadow-keys/a Closed > Closed", "shadow-keys/b Closed > Closed"]
      )
    }))

  it.effect("still times calls out", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-timeout", { ...shadow, timeout: "1 second" })
      const call = yield* Effect.forkChild(Effect.flip(breaker.wrap(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(call))._tag, "BreakerTimeoutError")
      assert.strictEqual((yield* breaker.snapshot).statistics.timeout, 1)
    }))

  it.effect("admits permits, waiting permits and streams through an open circuit and a full bulkhead", () =>
    Effect.gen(function*() {
      const [enforcing, measuring] = yield* processes(2)
      const policy = { ...shadow, maxConcurrent: 1, evidence: "any" } as const
      const breaker = yield* measuring!.make("shadow-permits", policy)
      yield* breaker.wrap(Effect.void)
      yield* failTimes(yield* enforcing!.make("shadow-permits", { ...two, evidence: "any" }), 2)
      yield* untilQuiet
      assert.strictEqual(yield* breaker.state, "Open")
      yield* Effect.scoped(Effect.gen(function*() {
        const permits = [yield* breaker.permit, yield* breaker.awaitPermit]
        for (const permit of permits) {
          assert.isFalse(permit.probe)
          assert.isTrue(yield* permit.settle({ _tag: "Failure" }))
        }
      }))
      assert.deepStrictEqual(yield* Stream.runCollect(Stream.make(1, 2).pipe(breaker.wrapStream)), [1, 2])
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* breaker.wrap(ran), "ran")
      // It took no probe, so what was open waits for an instance that enforces.
      assert.strictEqual(yield* breaker.state, "Open")
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 3, failure: 2, rejected: 0 })
    }))

  it.effect("an operator's ForcedOpen rejects calls, permits and streams, and Disabled records nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-forced", shadow)
      yield* breaker.override(forcedOpen)
      assert.deepInclude(yield* rejectionOf(breaker), {
        state: "ForcedOpen",
        openedBy: "override",
        reason: "incident 42"
      })
      const refused = [Effect.scoped(breaker.permit), Stream.runDrain(Stream.make(1).pipe(breaker.wrapStream))]
      for (const call of refused) assert.strictEqual((yield* Effect.flip(call))._tag, "BreakerOpenError")
      const waiting = yield* Effect.forkChild(Effect.scoped(breaker.awaitPermit), { startImmediately: true })
      yield* TestClock.adjust("5 seconds")
      assert.isUndefined(waiting.pollUnsafe())
      yield* breaker.override({ ...forcedOpen, mode: "Disabled" })
      yield* TestClock.adjust("5 seconds")
      assert.isTrue(Exit.isSuccess(yield* Fiber.await(waiting)))
      const { failure } = (yield* breaker.snapshot).statistics
      yield* failTimes(breaker, 3)
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, failure)
    }))
})

/** Sheds nearly all once many have failed, and has no rule that a test reaches. */
const throttled = { trip: Trip.consecutiveFailures(1_000_000), throttle: { max: 1 } } as const

describe("the policy's metricsOnly and its throttle", () => {
  const counts = (breaker: Breaker.Breaker<unknown>) =>
    Effect.map(breaker.snapshot, ({ shed, statistics: { failure, rejected } }) => [shed > 0.8, failure, rejected])

  it.effect("runs each call that would have been shed, and tells when shedding would have begun and ended", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-shed", { ...throttled, enforcement: "metricsOnly" })
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 200)
      assert.deepStrictEqual(yield* counts(breaker), [true, 200, 0])
      yield* TestClock.adjust("2 minutes")
      assert.strictEqual(yield* breaker.wrap(ran), "ran")
      const told = (yield* received).flatMap((event) => event._tag === "Throttling" ? [event.share > 0] : [])
      assert.deepStrictEqual(told, [true, false])
    }))

  it.effect("permits and streams go through, and the same policy sheds them once it is enforced", () =>
    Random.withSeed(
      Effect.gen(function*() {
        const breaker = yield* make("shadow-shed-permits", { ...throttled, enforcement: "metricsOnly" })
        yield* failTimes(breaker, 1000)
        const permits = Effect.scoped(Effect.flatMap(breaker.permit, ({ settle }) => settle({ _tag: "Failure" })))
        for (let i = 0; i < 20; i++) {
          assert.isTrue(yield* permits)
          yield* Effect.exit(Stream.runDrain(breaker.wrapStream(Stream.fail("no"))))
        }
        assert.deepStrictEqual(yield* counts(breaker), [true, 1040, 0])
        yield* breaker.reconfigure({ enforcement: "enforce" })
        const refused = [permits, Stream.runDrain(breaker.wrapStream(Stream.make(1)))]
        for (const call of refused) {
          assert.deepInclude(yield* Effect.flip(call), { _tag: "BreakerOpenError", state: "Throttled" })
        }
      }),
      "shadow"
    ))

  it.effect("a call of the reference's metricsOnly runs, too, where the others are shed", () =>
    Random.withSeed(
      Effect.gen(function*() {
        const breaker = yield* make("shed-reference", throttled)
        yield* as("metricsOnly")(failTimes(breaker, 1000))
        for (let i = 0; i < 20; i++) {
          assert.strictEqual(yield* as("metricsOnly")(Effect.flip(breaker.wrap(Effect.fail("no")))), "no")
          assert.deepInclude(yield* rejectionOf(breaker), { state: "Throttled" })
        }
      }),
      "shadow"
    ))

  it.effect("its failures shed no calls of the fleet's", () =>
    Effect.gen(function*() {
      const [enforcing, measuring] = yield* processes(2)
      const policy = { ...throttled, evidence: "pooled" } as const
      const a = yield* enforcing!.make("shadow-shed-fleet", policy)
      const b = yield* measuring!.make("shadow-shed-fleet", { ...policy, enforcement: "metricsOnly" })
      yield* a.wrap(Effect.void)
      yield* failTimes(b, 200)
      yield* intervals(6)
      assert.strictEqual(yield* a.wrap(ran), "ran")
      assert.deepStrictEqual([yield* counts(a), yield* counts(b)], [[false, 0, 0], [true, 200, 0]])
      assert.strictEqual((yield* a.snapshot).shed, 0)
    }))
})

describe("the policy's metricsOnly of one environment", () => {
  const inEnvironment = (record: Record<string, string>) =>
    Effect.gen(function*() {
      const policy = yield* Breaker.config("PAYMENTS")
      const payments = yield* make("payments", { ...two, ...policy })
      const search = yield* make("search", two)
      for (const breaker of [payments, search]) yield* failTimes(breaker, 2)
      yield* rejectionOf(search)
      return yield* payments.state
    }).pipe(Effect.provide(ConfigProvider.layer(ConfigProvider.fromEnvRecord(record))))

  it.effect("a variable says it for one breaker, and without it the same program enforces", () =>
    Effect.gen(function*() {
      assert.strictEqual(yield* inEnvironment({ PAYMENTS_ENFORCEMENT: "metricsOnly" }), "Closed")
      assert.strictEqual(yield* inEnvironment({ PAYMENTS_ENFORCEMENT: "enforce" }), "Open")
      assert.strictEqual(yield* inEnvironment({}), "Open")
    }))
})

describe("the policy's enforcement and the reference", () => {
  it.effect("the weaker of both applies", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-both", shadow)
      yield* as("enforce")(failTimes(breaker, 4))
      assert.strictEqual(yield* as("enforce")(breaker.wrap(ran)), "ran")
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 4)
      yield* as("bypass")(failTimes(breaker, 4))
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 4)
      const enforcing = yield* make("shadow-both-enforced", { ...two, enforcement: "enforce" })
      yield* as("metricsOnly")(failTimes(enforcing, 4))
      assert.strictEqual(yield* enforcing.state, "Closed")
      yield* failTimes(enforcing, 2)
      yield* rejectionOf(enforcing)
      assert.strictEqual((yield* enforcing.snapshot).enforcement, "enforce")
    }))

  it.effect("an operator's ForcedOpen does not reject under the reference's metricsOnly", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-forced-both", shadow)
      yield* breaker.override(forcedOpen)
      assert.strictEqual(yield* as("metricsOnly")(breaker.wrap(ran)), "ran")
      yield* as("enforce")(rejectionOf(breaker))
      const permit = yield* as("metricsOnly")(Effect.scoped(breaker.awaitPermit))
      assert.isFalse(permit.probe)
    }))

  it.effect("Breaker.Defaults sets it for all breakers that are made within", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-default", two).pipe(
        Effect.provideService(Breaker.Defaults, { enforcement: "metricsOnly" })
      )
      yield* failTimes(breaker, 4)
      assert.strictEqual(yield* breaker.wrap(ran), "ran")
    }))
})

describe("the policy's metricsOnly in a fleet", () => {
  for (const evidence of ["any", "pooled"] as const) {
    it.effect(`${evidence}: it never opens the circuit, neither by its own outcomes nor by those of others`, () =>
      Effect.gen(function*() {
        const [enforcing, measuring] = yield* processes(2)
        // The instance that only measures has the stricter rule: it would have opened the circuit for others' failures, too.
        const a = yield* enforcing!.make("shadow-fleet", { ...two, trip: Trip.consecutiveFailures(20), evidence })
        const b = yield* measuring!.make("shadow-fleet", { ...shadow, evidence })
        yield* a.wrap(Effect.void)
        yield* b.wrap(Effect.void)
        yield* failTimes(a, 4)
        yield* failTimes(b, 30)
        yield* intervals(6)
        assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
        assert.deepStrictEqual(measuring!.changes, [])
        assert.strictEqual(yield* a.wrap(ran), "ran")
      }))
  }

  it.effect("it opens no circuit for others that it opened alone before it only measured", () =>
    Effect.gen(function*() {
      const [first, other] = yield* processes(2)
      const a = yield* first!.make("shadow-before", { ...two, evidence: "any" })
      const b = yield* other!.make("shadow-before", { ...two, evidence: "any" })
      first!.fault(failing("Unavailable"))
      yield* failTimes(a, 2)
      yield* intervals(2)
      yield* a.reconfigure({ enforcement: "metricsOnly" })
      first!.fault(undefined)
      yield* intervals(3)
      assert.strictEqual(yield* a.wrap(ran), "ran")
      assert.strictEqual(yield* b.wrap(ran), "ran")
      const { fleet, state } = yield* a.snapshot
      assert.deepStrictEqual([state, fleet?.state, fleet?.statistics.failure], ["Open", "Closed", 2])
      assert.deepStrictEqual(first!.changes, [])
    }))

  it.effect("it takes no lease for a circuit that it closed alone before it only measured", () =>
    Effect.gen(function*() {
      const [first, other] = yield* processes(2)
      const a = yield* first!.make("shadow-ahead", { ...two, evidence: "any" })
      yield* a.wrap(Effect.void)
      yield* failTimes(yield* other!.make("shadow-ahead", { ...two, evidence: "any" }), 2)
      yield* intervals(2)
      first!.fault(failing("Unavailable"))
      yield* intervals(10)
      yield* a.wrap(Effect.void)
      assert.strictEqual(yield* a.state, "Closed")
      yield* a.reconfigure({ enforcement: "metricsOnly" })
      first!.fault(undefined)
      yield* Effect.repeat(Effect.andThen(a.wrap(ran), intervals(1)), { times: 9 })
      assert.strictEqual((yield* a.snapshot).fleet?.state, "Open")
      assert.deepStrictEqual(first!.probes, [])
    }))

  it.effect("its outcomes are no evidence, also under an operator's MetricsOnly", () =>
    Effect.gen(function*() {
      const [enforcing, measuring] = yield* processes(2)
      const a = yield* enforcing!.make("shadow-evidence", { ...two, trip: Trip.consecutiveFailures(20) })
      const b = yield* measuring!.make("shadow-evidence", { ...shadow, trip: Trip.consecutiveFailures(20) })
      yield* a.wrap(Effect.void)
      yield* a.override({ mode: "MetricsOnly", reason: "a drill", actor: "oncall" })
      yield* failTimes(b, 5)
      yield* intervals(3)
      const { fleet } = yield* a.snapshot
      assert.deepStrictEqual([fleet?.consecutiveFailures, fleet?.statistics.failure], [0, 5])
    }))

  it.effect("learns of an operator's ForcedOpen before its first call runs", () =>
    Effect.gen(function*() {
      const [enforcing, measuring] = yield* processes(2)
      yield* (yield* enforcing!.make("shadow-first", two)).override(forcedOpen)
      yield* rejectionOf(yield* measuring!.make("shadow-first", shadow))
    }))

  it.effect("no call fails because of the storage, whatever onStorageError says", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      const breaker = yield* link!.make("shadow-storage", { ...shadow, consistency: "strict", onStorageError: "fail" })
      link!.fault(failing("Unavailable"))
      const call: Effect.Effect<string, Breaker.BreakerOpenError | StorageError> = breaker.wrap(ran)
      const fiber = yield* Effect.forkChild(call, { startImmediately: true })
      yield* TestClock.adjust(Duration.seconds(3))
      assert.strictEqual(yield* Fiber.join(fiber), "ran")
    }))
})
