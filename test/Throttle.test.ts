/** `throttle` in a policy: a share of the calls is shed, by what the fleet's dependency accepts. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Random, Schedule } from "effect"
import { TestClock } from "effect/testing"
import { type Breaker, Trip } from "../src/index.ts"
import * as Retry from "../src/Retry.ts"
import { type Link, processes } from "./support/storages.ts"
import { failTimes, inBrief, listen, make, makeKeyed, rejectionOf, untilQuiet } from "./utils.ts"

/** A rule that no test reaches, so that throttling is alone. */
const never = Trip.consecutiveFailures(1_000_000)
const throttled = { trip: never, throttle: {} } as const

const calls = (breaker: Breaker.Breaker<unknown>, count: number, call: Effect.Effect<unknown, unknown>) =>
  Effect.forEach(Array.from({ length: count }), () => Effect.exit(breaker.wrap(call)))

const shed = (exits: ReadonlyArray<Exit.Exit<unknown, unknown>>): number =>
  exits.filter((exit) => Exit.isFailure(exit) && String(exit.cause).includes("sheds a share")).length

const seeded = <A, E, R>(effect: Effect.Effect<A, E, R>) => Random.withSeed(effect, "throttle")

describe("a circuit with a throttle", () => {
  it.effect("sheds nothing while half of the calls succeed, nor of fewer than minimumCalls", () =>
    Effect.gen(function*() {
      const breaker = yield* make("half", throttled)
      yield* failTimes(breaker, 19)
      assert.strictEqual((yield* breaker.snapshot).shed, 0)
      yield* TestClock.adjust("2 minutes")
      for (let i = 0; i < 100; i++) yield* calls(breaker, 1, i % 2 === 0 ? Effect.void : Effect.fail("no"))
      const { shed: share, statistics: { rejected } } = yield* breaker.snapshot
      assert.deepStrictEqual([share, rejected], [0, 0])
    }))

  it.effect("sheds by the formula, and counts what it sheds as requests and as nothing else", () =>
    seeded(Effect.gen(function*() {
      const breaker = yield* make("formula", {
        ...throttled,
        trip: Trip.failures({ count: 10_000, within: "2 minutes" })
      })
      yield* calls(breaker, 25, Effect.void)
      yield* failTimes(breaker, 26)
      const { shed: share, statistics: { rejected } } = yield* breaker.snapshot
      assert.deepStrictEqual([share, rejected], [1 / 52, 0])
      const exits = yield* calls(breaker, 200, Effect.fail("no"))
      const after = yield* breaker.snapshot
      assert.strictEqual(after.statistics.rejected, shed(exits))
      assert.strictEqual(after.statistics.failure, 26 + 200 - shed(exits))
      assert.strictEqual(after.windows[0]!.calls, 51 + 200 - shed(exits))
      assert.strictEqual(after.shed, (251 - 50) / 252)
      // The sum of the shares of these calls.
      const expected = exits.reduce((sum, _, i) => sum + (1 + i) / (52 + i), 0)
      assert.approximately(shed(exits), expected, 20)
    })))

  it.effect("rejects with a BreakerOpenError that says so, and has no time to come back at", () =>
    Effect.gen(function*() {
      const breaker = yield* make("said", { ...throttled, throttle: { max: 1 } })
      yield* failTimes(breaker, 10_000)
      const error = yield* Effect.retry(rejectionOf(breaker), { times: 100 })
      assert.deepInclude(error, { circuit: "said", state: "Throttled", openedBy: "instance" })
      assert.isFalse("retryAfter" in error || "reason" in error || "lastFailure" in error)
      assert.isTrue(Object.isFrozen(error))
      assert.strictEqual(error.message, "Circuit \"said\" sheds a share of the calls, because too many of them fail")
      assert.deepStrictEqual(JSON.parse(JSON.stringify(error)), {
        _tag: "BreakerOpenError",
        circuit: "said",
        state: "Throttled",
        openedBy: "instance"
      })
      assert.strictEqual((yield* breaker.snapshot).retryAfter, undefined)
    }))

  it.effect("tells when it begins to shed and when it no longer does", () =>
    Effect.gen(function*() {
      const breaker = yield* make("told", throttled)
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 25)
      yield* TestClock.adjust("2 minutes")
      yield* calls(breaker, 2, Effect.void)
      const told = (yield* received).flatMap((event) => event._tag === "Throttling" ? [event] : [])
      assert.deepStrictEqual(told.map(({ share, snapshot }) => [share > 0, share === snapshot.shed]), [[true, true], [
        false,
        true
      ]])
    }))

  it.effect("opens as its trip policy says, and a circuit that closes again has forgotten what was shed", () =>
    Effect.gen(function*() {
      const breaker = yield* make("both", { ...throttled, trip: Trip.consecutiveFailures(30), openFor: "1 second" })
      const received = yield* listen(breaker)
      yield* calls(breaker, 400, Effect.fail("no"))
      assert.strictEqual(yield* breaker.state, "Open")
      assert.strictEqual((yield* breaker.snapshot).shed, 0)
      yield* TestClock.adjust("1 second")
      assert.strictEqual(shed(yield* calls(breaker, 100, Effect.void)), 0)
      assert.deepStrictEqual(
        (yield* received).map(inBrief).filter((event) => event.includes(">") || event === "Throttling"),
        ["Throttling", "Closed > Open", "Throttling", "Open > HalfOpen", "HalfOpen > Closed"]
      )
    }))

  it.effect("counts what it would have shed, where enforcement is metricsOnly", () =>
    Effect.gen(function*() {
      const breaker = yield* make("measured", { ...throttled, enforcement: "metricsOnly" })
      assert.strictEqual(shed(yield* calls(breaker, 200, Effect.fail("no"))), 0)
      assert.isAbove((yield* breaker.snapshot).shed, 0.8)
    }))

  it.effect("takes another throttle while it runs, and none", () =>
    Effect.gen(function*() {
      const breaker = yield* make("changed", { trip: never })
      yield* failTimes(breaker, 100)
      const changed = yield* breaker.reconfigure({ throttle: { k: 1.5 } })
      assert.deepStrictEqual(changed, [{
        field: "throttle",
        from: "none",
        to: "k 1.5 of at least 20 calls within 120 s, at most 0.9"
      }])
      assert.strictEqual((yield* breaker.snapshot).shed, 0, "the window begins with the policy")
      yield* failTimes(breaker, 100)
      assert.strictEqual((yield* breaker.snapshot).shed, 0.9)
      yield* breaker.reconfigure({ throttle: { max: 0 } })
      assert.strictEqual((yield* breaker.snapshot).shed, 0)
      assert.strictEqual(shed(yield* calls(breaker, 200, Effect.fail("no"))), 0)
    }))

  it.effect("of a key is the key's own", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("keys", throttled)
      for (let i = 0; i < 50; i++) yield* Effect.exit(keyed.wrap(Effect.fail("no"), { key: "bad" }))
      assert.isAbove((yield* keyed.get("bad").snapshot).shed, 0.8)
      yield* keyed.wrap(Effect.void, { key: "good" })
      assert.strictEqual((yield* keyed.get("good").snapshot).shed, 0)
    }))

  it.effect("is waited for by Retry.afterRejection as its schedule says", () =>
    Effect.gen(function*() {
      const breaker = yield* make("retried", { ...throttled, throttle: { max: 1 } })
      yield* failTimes(breaker, 1000)
      assert.isUndefined(Retry.waitOf(yield* Effect.retry(rejectionOf(breaker), { times: 100 })))
      const retried = Effect.retry(breaker.wrap(Effect.void), {
        schedule: Retry.afterRejection(Schedule.spaced("10 seconds"))
      })
      const fiber = yield* Effect.forkChild(retried)
      yield* TestClock.adjust("10 minutes")
      assert.strictEqual(fiber.pollUnsafe()?._tag, "Success")
    }))
})

/** A dependency that takes so many calls a second, and what a fleet asks of it. */
class Dependency {
  capacity: number
  #left = 0
  ran = 0
  constructor(capacity: number) {
    this.capacity = capacity
  }
  beginSecond(): void {
    this.#left = this.capacity
  }
  readonly call = Effect.suspend(() => {
    this.ran++
    return this.#left-- > 0 ? Effect.void : Effect.fail("overloaded")
  })
}

/** One second of a fleet: each process asks so often, the processes in turn, and each second another one first. */
const second = (
  fleet: ReadonlyArray<Breaker.Breaker<unknown>>,
  each: number,
  dependency: Dependency,
  at: number
) =>
  Effect.gen(function*() {
    dependency.beginSecond()
    for (let i = 0; i < each * fleet.length; i++) {
      yield* Effect.exit(fleet[(at * 7 + i) % fleet.length]!.wrap(dependency.call))
    }
    yield* TestClock.adjust("1 second")
    yield* untilQuiet
  })

const seconds = (count: number, f: (at: number) => Effect.Effect<void>) =>
  Effect.forEach(Array.from({ length: count }, (_, at) => at), f, { discard: true })

const policy = { ...throttled, evidence: "pooled", reports: "quiet" } as const

const fleetOf = (size: number, more: Breaker.Data = {}) =>
  Effect.gen(function*() {
    const links = yield* processes(size, { bells: true })
    const fleet = yield* Effect.forEach(links, (link) => link.make("shared", { ...policy, ...more }))
    return { links, fleet }
  })

const syncs = (links: ReadonlyArray<Link>): number =>
  links.reduce((sum, { sent }) => sum + sent.filter((one) => one === "sync").length, 0)

describe("a fleet with a throttle", () => {
  it.effect(
    "lets through k times what its dependency takes, without oscillation, and all of it after a recovery",
    () =>
      seeded(Effect.gen(function*() {
        const { fleet } = yield* fleetOf(5)
        const dependency = new Dependency(10)
        yield* seconds(150, (at) => second(fleet, 10, dependency, at))
        const ran: Array<number> = []
        for (let i = 0; i < 12; i++) {
          dependency.ran = 0
          yield* seconds(10, (at) => second(fleet, 10, dependency, at))
          ran.push(dependency.ran / 10)
        }
        const mean = ran.reduce((sum, n) => sum + n, 0) / ran.length
        assert.approximately(mean, 2 * dependency.capacity, 0.05 * 2 * dependency.capacity, `${ran}`)
        for (const each of ran) assert.approximately(each, mean, 0.2 * mean, `${ran}`)
        dependency.capacity = Infinity
        let recovery = 0
        while ((yield* fleet[0]!.snapshot).shed > 0) {
          yield* second(fleet, 10, dependency, recovery++)
          assert.isBelow(recovery, 130)
        }
        assert.isAbove(recovery, 60)
      })),
    60_000
  )

  it.effect("sheds by the counts of all where no instance has calls enough of its own", () =>
    seeded(Effect.gen(function*() {
      const { fleet } = yield* fleetOf(20)
      const exits: Array<Exit.Exit<void, unknown>> = []
      // Ten calls of each instance in the window, all of which fail.
      for (let at = 0; at < 20; at++) {
        for (const breaker of fleet) exits.push(yield* Effect.exit(breaker.wrap(Effect.fail("no"))))
        yield* seconds(12, () => Effect.andThen(TestClock.adjust("1 second"), untilQuiet))
      }
      assert.strictEqual(shed(exits.slice(0, 20)), 0)
      assert.isAbove(shed(exits.slice(-200)), 200 * 0.8)
      const shedBy = Effect.map(Effect.retry(rejectionOf(fleet[0]!), { times: 100 }), ({ openedBy }) => openedBy)
      assert.strictEqual(yield* shedBy, "fleet")
      yield* calls(fleet[0]!, 400, Effect.fail("no"))
      assert.strictEqual(yield* shedBy, "instance")
    })))

  it.effect("refuses only the calls of the one instance that fails", () =>
    seeded(Effect.gen(function*() {
      const { fleet } = yield* fleetOf(4)
      const [bad, ...good] = fleet
      yield* seconds(30, (at) => second(fleet, 8, new Dependency(Infinity), at))
      const exits = { bad: new Array<Exit.Exit<void, unknown>>(), good: new Array<Exit.Exit<void, unknown>>() }
      yield* seconds(240, () =>
        Effect.gen(function*() {
          // It asks for three times as much as all others together, so the pooled counts look bad.
          for (let i = 0; i < 18; i++) exits.bad.push(yield* Effect.exit(bad!.wrap(Effect.fail("no"))))
          for (const breaker of good) {
            for (let i = 0; i < 2; i++) exits.good.push(yield* Effect.exit(breaker.wrap(Effect.void)))
          }
          yield* TestClock.adjust("1 second")
          yield* untilQuiet
        }))
      assert.isAbove(shed(exits.bad), 0.7 * exits.bad.length)
      assert.strictEqual(shed(exits.good), 0)
    })))

  it.effect("is quiet while it is healthy, and reports once an interval while it sheds", () =>
    Effect.gen(function*() {
      const { fleet, links } = yield* fleetOf(3)
      const dependency = new Dependency(Infinity)
      const run = (count: number) => seconds(count, (at) => second(fleet, 4, dependency, at))
      yield* run(5)
      const healthy = syncs(links)
      yield* run(60)
      assert.isAtMost(syncs(links) - healthy, 3 * 9)
      dependency.capacity = 2
      yield* run(90)
      const sheds = syncs(links)
      yield* run(20)
      assert.isAtLeast(syncs(links) - sheds, 3 * 19)
    }))
})
