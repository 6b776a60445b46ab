/** What a fleet cannot be talked into: by a seed, by a hanging or slow storage, by a clock, or by a policy that cannot work. */
import { assert, describe, it } from "@effect/vitest"
import { Cause, Clock, Duration, Effect, Exit, Fiber, Layer, Random, Result } from "effect"
import { TestClock } from "effect/testing"
import { type Breaker, Trip } from "../src/index.ts"
import * as Fallback from "../src/Storage/Fallback.ts"
import * as Health from "../src/Storage/Health.ts"
import * as Memory from "../src/Storage/Memory.ts"
import * as Storage from "../src/Storage/Storage.ts"
import { type Fault, hanging, Link, memory, slow } from "./support/storages.ts"
import { failTimes, untilQuiet } from "./utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const

const intervals = (count: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: count - 1 })

describe("the id of an instance and of an operator's act", () => {
  const seeded = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<A, E, R> => Random.withSeed(effect, "s")

  it.effect("two processes with one seed are two instances, and both count (F18)", () =>
    Effect.gen(function*() {
      const links = yield* Effect.map(memory, (storage) => [new Link(storage), new Link(storage)])
      for (const link of links) {
        const breaker = yield* seeded(link.make("seeded", { trip: Trip.consecutiveFailures(100) }))
        yield* seeded(Effect.andThen(breaker.wrap(Effect.void), failTimes(breaker, 3)))
        yield* intervals(2)
      }
      const instances = links.map(({ reports }) => reports[0]!.instance)
      assert.notStrictEqual(instances[0], instances[1])
      const [answer] = yield* links[0]!.storage.sync([{ ...links[0]!.reports[0]!, instance: "reader" }])
      assert.strictEqual(Result.getOrThrow(answer!.result).snapshot.lifetime.failure, 6)
    }))

  it.effect("two acts of operators under one seed both take effect (F18)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("acts", two)
      yield* seeded(breaker.override({ mode: "ForcedOpen", reason: "drill", actor: "ann" }))
      assert.isTrue(Exit.isFailure(yield* Effect.exit(breaker.wrap(Effect.void))))
      yield* seeded(breaker.clearOverride({ actor: "ann" }))
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(breaker.wrap(Effect.void))))
      assert.isUndefined((yield* breaker.snapshot).override)
    }))

  it.effect("chains and health probes of two processes with one seed have names of their own (F18)", () =>
    Effect.gen(function*() {
      const circuits = yield* Effect.forEach([1, 2], () =>
        seeded(Effect.gen(function*() {
          const link = new Link(yield* memory)
          yield* Health.check(link.storage)
          return link.reports[0]!.circuit
        })))
      assert.notStrictEqual(circuits[0], circuits[1])
      const names = yield* Effect.forEach([1, 2], () =>
        seeded(Effect.gen(function*() {
          const first = new Link(yield* memory)
          const chain = yield* Fallback.make([{ storage: first.storage }, { storage: yield* memory }])
          const report = {
            circuit: "c",
            instance: "i",
            sequence: 1,
            generation: 0,
            delta: {
              buckets: [],
              streak: { leading: 1, sawSuccess: false, trailing: 1 },
              lifetime: { success: 0, failure: 1, ignored: 0, timeout: 0, slow: 0, rejected: 0 },
              hint: 0
            },
            withins: []
          }
          // The first storage is skipped after three failures. What it missed is delivered under a name of the chain's own.
          first.fault(() =>
            Effect.fail(new Storage.StorageError({ operation: "test", reason: "Unavailable", cause: 0 }))
          )
          for (let sequence = 1; sequence <= 5; sequence++) yield* chain.sync([{ ...report, sequence }])
          first.fault(undefined)
          yield* Effect.repeat(
            Effect.andThen(
              TestClock.adjust("10 seconds"),
              Effect.andThen(chain.sync([{ ...report, sequence: 9 }]), untilQuiet)
            ),
            { times: 10 }
          )
          return first.reports.map(({ instance }) => instance).find((instance) => instance.startsWith("chain "))
        })))
      assert.isDefined(names[0])
      assert.notStrictEqual(names[0], names[1])
    }))
})

describe("a call on a storage that hangs", () => {
  /** How long a call of a breaker takes, when it is called after a request has been under way for `before`. */
  const millisOf = (breaker: Breaker.Breaker<unknown>) =>
    Effect.gen(function*() {
      const start = yield* Clock.currentTimeMillis
      const fiber = yield* Effect.forkChild(Effect.exit(breaker.wrap(Effect.void)), { startImmediately: true })
      while (fiber.pollUnsafe() === undefined) yield* Effect.andThen(TestClock.adjust("50 millis"), untilQuiet)
      assert.isTrue(Exit.isSuccess(yield* Fiber.join(fiber)))
      return (yield* Clock.currentTimeMillis) - start
    })

  for (const consistency of ["strict", { maxAge: "100 millis" }] as const) {
    const name = typeof consistency === "string" ? consistency : "maxAge"

    it.effect(`a ${name} call waits one deadline, also with a request in flight (R11)`, () =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        const breaker = yield* link.make("hangs", { ...two, consistency })
        const other = yield* link.make("other", { ...two, consistency })
        yield* breaker.wrap(Effect.void)
        yield* other.wrap(Effect.void)
        yield* intervals(2)
        link.fault(hanging)
        const earlier = yield* Effect.forkChild(breaker.wrap(Effect.void), { startImmediately: true })
        const others = yield* Effect.forkChild(other.wrap(Effect.void), { startImmediately: true })
        yield* TestClock.adjust("900 millis")
        assert.isAtMost(yield* millisOf(breaker), 1000)
        assert.isAtMost(yield* millisOf(breaker), 1000)
        yield* Fiber.join(earlier)
        yield* Fiber.join(others)
      }))
  }

  it.effect("a strict call that has run waits one deadline for its outcome's report (R11)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("ran", { ...two, consistency: "strict" })
      yield* breaker.wrap(Effect.void)
      const start = yield* Clock.currentTimeMillis
      const body = Effect.sync(() => link.fault(hanging))
      const fiber = yield* Effect.forkChild(breaker.wrap(body), { startImmediately: true })
      while (fiber.pollUnsafe() === undefined) yield* Effect.andThen(TestClock.adjust("50 millis"), untilQuiet)
      assert.isAtMost((yield* Clock.currentTimeMillis) - start, 1000)
      link.fault(undefined)
    }))

  it.effect("with onStorageError: fail the deadline is the call's error (R11)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const policy = { ...two, consistency: "strict", onStorageError: "fail" } as const
      const breaker = yield* link.make("fails", policy)
      yield* breaker.wrap(Effect.void)
      link.fault(hanging)
      const first = yield* Effect.forkChild(Effect.exit(breaker.wrap(Effect.void)), { startImmediately: true })
      yield* TestClock.adjust("500 millis")
      const second = yield* Effect.forkChild(Effect.flip(breaker.wrap(Effect.void)), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      const error = yield* Fiber.join(second)
      assert.deepInclude(error, { _tag: "StorageError", reason: "Deadline", operation: "sync", circuit: "fails" })
      assert.isTrue(Exit.isFailure(yield* Fiber.join(first)))
    }))
})

describe("a storage whose clock was set back", () => {
  /** Every answer as from a server whose clock has lost an hour: the rest of an open time is an hour longer. */
  const longer = <A extends { readonly snapshot: Storage.Snapshot }>(answer: A): A => {
    const { snapshot } = answer
    return snapshot.state._tag !== "Open" ? answer : {
      ...answer,
      snapshot: { ...snapshot, state: { _tag: "Open", remaining: snapshot.state.remaining + 3_600_000 } }
    }
  }
  const anHourLonger: Fault = (request) =>
    Effect.map(request, (answer) =>
      (answer as ReadonlyArray<Storage.Synced>).map((synced) => ({
        ...synced,
        result: Result.map(synced.result, longer)
      })) as typeof answer)

  it.effect("a longer rest of the open time that an instance counts down itself is not believed (R8)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("back", { ...two, evidence: "any", openFor: "5 seconds" })
      yield* breaker.wrap(Effect.void)
      yield* failTimes(breaker, 2)
      yield* untilQuiet
      link.fault(anHourLonger, "sync")
      for (let left = 4; left >= 0; left--) {
        yield* intervals(1)
        const { fleet, retryAfter } = yield* breaker.snapshot
        assert.isAtMost(Duration.toMillis(retryAfter ?? Duration.zero), left * 1000)
        assert.isAtMost(Duration.toMillis(fleet!.remaining!), left * 1000)
      }
      // By the storage's own clock the open time is over, so the probe is granted.
      yield* breaker.wrap(Effect.void)
      assert.strictEqual((yield* breaker.snapshot).state, "Closed")
    }))
})

describe("pooled evidence", () => {
  it.effect("a short window beside a long one opens by its own failures alone (F10)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const trip = Trip.any(
        Trip.failures({ count: 3, within: "1 second" }),
        Trip.failures({ count: 10_000, within: "1 hour" })
      )
      const breaker = yield* link.make("rare", { trip, evidence: "pooled" })
      yield* breaker.wrap(Effect.void)
      for (let i = 0; i < 10; i++) {
        yield* failTimes(breaker, 1)
        yield* intervals(9)
        const { fleet, state } = yield* breaker.snapshot
        assert.deepStrictEqual([state, fleet!.state], ["Closed", "Closed"])
        assert.strictEqual(fleet!.windows[1]!.failures, i + 1)
      }
    }))

  it.effect("a trip is in time on a storage that is slower than a short syncEvery (F11)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("slow", { ...two, evidence: "pooled", syncEvery: "10 millis" })
      yield* breaker.wrap(Effect.void)
      link.fault(slow(300))
      yield* failTimes(breaker, 2)
      yield* Effect.repeat(Effect.andThen(TestClock.adjust("50 millis"), untilQuiet), { times: 60 })
      const { fleet, isolated } = yield* breaker.snapshot
      assert.strictEqual(fleet!.state, "Open")
      assert.isFalse(isolated)
    }))
})

describe("a policy that its storage cannot serve", () => {
  const made = (policy: Breaker.Policy, capabilities: Partial<Storage.Capabilities> = {}) =>
    Effect.gen(function*() {
      const link = new Link(yield* Memory.make({ idleTimeToLive: "1 hour" }), capabilities)
      const exit = yield* Effect.exit(link.make("unfit", policy))
      return Exit.isSuccess(exit) ? undefined : Cause.squash(exit.cause)
    })

  const refused = (policy: Breaker.Policy, message: string) =>
    Effect.gen(function*() {
      const error = yield* made(policy)
      assert.instanceOf(error, RangeError)
      assert.strictEqual(error.message, `Circuit "unfit" on storage "memory": ${message}`)
    })

  it.effect("a pooled window or an interval beyond the idle time is refused when the breaker is made (F11)", () =>
    Effect.gen(function*() {
      yield* refused(
        { trip: Trip.failures({ count: 3, within: "10 hours" }) },
        "trip.within must be at most the storage's idleTimeToLive (3600000 millis) for pooled evidence, got \"36000000 millis\""
      )
      yield* refused(
        { throttle: { within: "10 hours" }, evidence: "pooled" },
        "throttle.within must be at most the storage's idleTimeToLive (3600000 millis) for pooled evidence, got \"36000000 millis\""
      )
      yield* refused(
        { syncEvery: "61 minutes" },
        "syncEvery must be at most the storage's idleTimeToLive (3600000 millis), got \"3660000 millis\""
      )
      const rate = Trip.failureRate({ threshold: 0.5, within: "1 minute", minimumCalls: 10 })
      yield* refused(
        { trip: rate, syncEvery: "2 minutes" },
        "syncEvery must be at most the shortest window of trip (60000 millis), in which pooled evidence must trip twice, got \"120000 millis\""
      )
      yield* refused(
        { trip: Trip.any(rate, Trip.failures({ count: 3, within: "2 hours" })), syncEvery: "3 hours" },
        "syncEvery must be at most the shortest window of trip (60000 millis), in which pooled evidence must trip twice, got \"10800000 millis\"; " +
          "trip.within must be at most the storage's idleTimeToLive (3600000 millis) for pooled evidence, got \"7200000 millis\""
      )
    }))

  it.effect("what can work is made: the longest of each, shorter windows than the interval's default, and own evidence (F11)", () =>
    Effect.gen(function*() {
      const short = Trip.failures({ count: 3, within: "300 millis" })
      const long = Trip.failures({ count: 3, within: "10 hours" })
      const hour = Trip.failures({ count: 3, within: "1 hour" })
      assert.isUndefined(yield* made({ trip: hour, syncEvery: "1 hour" }))
      assert.isUndefined(yield* made({ trip: short }))
      assert.isUndefined(yield* made({ trip: short, syncEvery: "1 minute", consistency: "strict" }))
      assert.isUndefined(yield* made({ trip: long, evidence: "any" }))
      assert.isUndefined(yield* made({ trip: Trip.failureRate({ threshold: 1, lastCalls: 10, minimumCalls: 10 }) }))
      assert.isUndefined(yield* made({ trip: long, syncEvery: "2 hours" }, { fences: false }))
      assert.isUndefined(yield* made({ trip: long }, { shared: false }))
    }))

  it.effect("the layer of a service dies with the same error (F11)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const exit = yield* Effect.exit(
        Layer.build(Layer.provide(
          Layer.effectDiscard(link.make("unfit", { syncEvery: "1 day" })),
          link.layer
        ))
      )
      assert.isTrue(Exit.isFailure(exit) && Cause.squash(exit.cause) instanceof RangeError)
    }))
})
