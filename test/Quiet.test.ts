/** A healthy fleet is silent where its storage has bells. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Random, Result, Scope } from "effect"
import { TestClock } from "effect/testing"
import { type Breaker, Trip } from "../src/index.ts"
import { failing, type Link, memory, processes, slow } from "./support/storages.ts"
import { failTimes, untilQuiet } from "./utils.ts"

const rate = {
  trip: Trip.failureRate({ threshold: 0.5, within: "30 seconds", minimumCalls: 4 }),
  evidence: "pooled",
  reports: "quiet"
} as const

const seconds = (count: number, each: Effect.Effect<unknown> = Effect.void) =>
  Effect.repeat(Effect.andThen(Effect.andThen(each, TestClock.adjust("1 second")), untilQuiet), { times: count - 1 })

const succeeds = <Err>(breaker: Breaker.Breaker<Err>) => Effect.ignore(breaker.wrap(Effect.void))

const countOf = ({ sent }: Link, operation: string) => sent.filter((one) => one === operation).length

/** What the storage holds of the circuit. */
const stored = (link: Link) =>
  Effect.map(
    link.storage.sync([{ ...link.reports[0]!, instance: "reader" }]),
    ([answer]) => Result.getOrThrow(answer!.result).snapshot
  )

const twoOn = <const P extends Breaker.Policy>(policy: P, capabilities = {}) =>
  Effect.gen(function*() {
    const [linkA, linkB] = yield* processes(2, { bells: true, ...capabilities })
    const a = yield* linkA!.make("quiet", { reports: "quiet", ...policy })
    const b = yield* linkB!.make("quiet", { reports: "quiet", ...policy })
    return { a, b, linkA: linkA!, linkB: linkB!, both: Effect.andThen(succeeds(a), succeeds(b)) }
  })

describe("a healthy circuit", () => {
  it.effect("is reported about three times a window, by a process that polls once an interval, and nothing is lost", () =>
    Effect.gen(function*() {
      const { both, linkA } = yield* twoOn(rate)
      yield* seconds(3, both)
      const [reports, polls] = [countOf(linkA, "sync"), countOf(linkA, "bells")]
      yield* seconds(60, both)
      assert.isAtMost(countOf(linkA, "sync") - reports, 9)
      assert.isAtLeast(countOf(linkA, "sync") - reports, 4)
      assert.isAtMost(countOf(linkA, "bells") - polls, 61)
      assert.isAtLeast(countOf(linkA, "bells") - polls, 59)
      yield* seconds(40)
      yield* seconds(1, both)
      yield* seconds(40)
      assert.strictEqual((yield* stored(linkA)).lifetime.success, 2 * (3 + 60 + 1))
    }))

  it.effect("has told everything once its breaker's scope is closed", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1, { bells: true })
      const scope = yield* Scope.make()
      const breaker = yield* Scope.provide(link!.make("quiet", rate), scope)
      yield* seconds(5, succeeds(breaker))
      yield* succeeds(breaker)
      assert.isBelow((yield* stored(link!)).lifetime.success, 6)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual((yield* stored(link!)).lifetime.success, 6)
    }))

  it.effect("has told everything an interval after its key has made room for another", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1, { bells: true })
      const hosts = yield* link!.makeKeyed("hosts", { ...rate, capacity: 1 })
      const call = (key: string) => Effect.ignore(hosts.wrap(Effect.void, { key }))
      yield* seconds(3, call("first"))
      yield* call("first")
      const told = () =>
        link!.reports.filter(({ circuit }) => circuit === "hosts/first").reduce(
          (sum, { delta }) => sum + delta.lifetime.success,
          0
        )
      assert.isBelow(told(), 4)
      yield* call("second")
      yield* seconds(2)
      assert.strictEqual(told(), 4)
    }))

  it.effect("is reported once an interval with reports: \"every interval\", while polls fail, and without bells", () =>
    Effect.gen(function*() {
      for (const kind of ["every interval", "polls fail", "no bells"] as const) {
        const policy = { ...rate, ...(kind === "every interval" ? { reports: kind } : {}) }
        const { both, linkA } = yield* twoOn(policy, kind === "no bells" ? { bells: false } : {})
        if (kind === "polls fail") linkA.fault(failing("Invalid"), "bells")
        yield* seconds(3, both)
        const reports = countOf(linkA, "sync")
        yield* seconds(20, both)
        assert.isAtLeast(countOf(linkA, "sync") - reports, 19, kind)
      }
    }))

  it.effect("is silent with any evidence, too, and a trip elsewhere rings", () =>
    Effect.gen(function*() {
      const policy = { trip: Trip.consecutiveFailures(2), evidence: "any" } as const
      const { a, b, both, linkB } = yield* twoOn(policy, { pushes: false })
      yield* seconds(5, both)
      const reports = countOf(linkB, "sync")
      yield* seconds(10, both)
      assert.isAtMost(countOf(linkB, "sync") - reports, 1)
      yield* failTimes(a, 2)
      yield* seconds(2, succeeds(b))
      assert.strictEqual(yield* b.state, "Open")
    }))

  it.effect("polls nothing and arms no timer once nobody calls it", () =>
    Effect.gen(function*() {
      const { both, linkA } = yield* twoOn(rate)
      yield* seconds(3, both)
      yield* seconds(30)
      const sent = linkA.sent.length
      yield* seconds(60)
      assert.strictEqual(linkA.sent.length, sent)
    }))
})

describe("a failure", () => {
  it.effect("on which the fleet could open is reported within 50 ms, and one that could not matter waits", () =>
    Effect.gen(function*() {
      const { a, both, linkA } = yield* twoOn({ trip: Trip.consecutiveFailures(6), evidence: "pooled" })
      yield* seconds(40, both)
      const reports = countOf(linkA, "sync")
      yield* failTimes(a, 1)
      yield* Effect.andThen(TestClock.adjust("60 millis"), untilQuiet)
      assert.strictEqual(countOf(linkA, "sync"), reports)
      yield* failTimes(a, 2)
      yield* Effect.andThen(TestClock.adjust("60 millis"), untilQuiet)
      assert.isAbove(countOf(linkA, "sync"), reports)
    }))

  it.effect("that trips its own instance is reported at once", () =>
    Effect.gen(function*() {
      const { a, both, linkA } = yield* twoOn({ trip: Trip.consecutiveFailures(3), evidence: "pooled" })
      yield* seconds(5, both)
      const reports = countOf(linkA, "sync")
      yield* failTimes(a, 3)
      yield* untilQuiet
      assert.isAbove(countOf(linkA, "sync"), reports)
    }))
})

describe("an alert", () => {
  for (const pushes of [true, false]) {
    it.effect(`brings what is unsaid, so that two bad nodes do not open the fleet, ${pushes ? "with" : "without"} pushes`, () =>
      Effect.gen(function*() {
        const links = yield* processes(3, { bells: true, pushes })
        const policy = { trip: Trip.consecutiveFailures(6), evidence: "pooled", reports: "quiet" } as const
        // The seed decides when the second one reports by itself: not within the seconds that matter.
        const [a, b, c] = yield* Effect.forEach(links, (link) => Random.withSeed(link.make("quiet", policy), "quiet"))
        yield* seconds(5, Effect.forEach([a!, b!, c!], succeeds))
        yield* seconds(40, succeeds(b!))
        const reports = countOf(links[1]!, "sync")
        // Neither trips alone, and together they have as many as the rule needs.
        yield* Effect.all([failTimes(a!, 3), failTimes(c!, 3)])
        yield* seconds(5)
        assert.isAbove(countOf(links[1]!, "sync"), reports)
        assert.strictEqual((yield* stored(links[0]!)).lifetime.opened, 0)
      }))

    it.effect(`opens a fleet whose dependency fails, ${pushes ? "with" : "without"} pushes`, () =>
      Effect.gen(function*() {
        const { a, b, both } = yield* twoOn(rate, { pushes })
        yield* seconds(20, both)
        yield* seconds(30, Effect.andThen(failTimes(a, 1), failTimes(b, 1)))
        assert.strictEqual((yield* a.snapshot).fleet?.state, "Open")
        assert.strictEqual((yield* b.snapshot).fleet?.state, "Open")
      }))
  }
})

describe("a bell", () => {
  it.effect("of other data makes every circuit be looked at, and what was lost is put back within an interval", () =>
    Effect.gen(function*() {
      const { a, both, linkA } = yield* twoOn({ ...rate, openFor: "10 minutes" })
      yield* seconds(3, both)
      yield* a.override({ mode: "ForcedOpen", reason: "drill", actor: "ann" })
      yield* seconds(3, both)
      linkA.moveTo(yield* memory)
      linkA.fault(slow(10))
      // The poll, a look at the circuit, and the request that puts it back.
      yield* seconds(1, both)
      yield* TestClock.adjust("30 millis")
      linkA.fault(undefined)
      assert.strictEqual((yield* stored(linkA)).override?.kind, "ForcedOpen")
    }))

  describe("renews views, so that with maxAge", () => {
    const cached = { ...rate, consistency: { maxAge: "2 seconds" } } as const

    /** Calls of two instances in each of so many seconds. Counts what the first has sent meanwhile. */
    const loadsIn = (count: number, { both, linkA }: Fleet) =>
      Effect.gen(function*() {
        const before = { reports: linkA.reports.length, sync: countOf(linkA, "sync") }
        yield* seconds(count, both)
        const told = linkA.reports.slice(before.reports).filter(({ delta }) => delta.lifetime.success > 0)
        return { loads: countOf(linkA, "sync") - before.sync - told.length, reports: told.length }
      })
    type Fleet = Effect.Success<ReturnType<typeof twoOn>>

    it.effect("no call loads anything while it says that nothing changed", () =>
      Effect.gen(function*() {
        const fleet = yield* twoOn(cached, { pushes: false })
        yield* seconds(5, fleet.both)
        const { loads, reports } = yield* loadsIn(40, fleet)
        assert.strictEqual(loads, 0)
        assert.isAtMost(reports, 6)
      }))

    it.effect("what it tells of is loaded, once", () =>
      Effect.gen(function*() {
        const fleet = yield* twoOn(cached, { pushes: false })
        yield* seconds(5, fleet.both)
        yield* fleet.b.override({ mode: "MetricsOnly", reason: "drill", actor: "ann" })
        // The load brings what was not reported. A lazy report may come beside it.
        const { loads, reports } = yield* loadsIn(3, fleet)
        assert.isAtLeast(loads + reports, 1)
        assert.isAtMost(loads + reports, 2)
        assert.strictEqual((yield* fleet.a.snapshot).override?.mode, "MetricsOnly")
      }))

    it.effect("views that are too old are loaded while polls fail, and not after that", () =>
      Effect.gen(function*() {
        const fleet = yield* twoOn(cached, { pushes: false })
        yield* seconds(5, fleet.both)
        fleet.linkA.fault(failing("Invalid"), "bells")
        // A report an interval, whose answer is a view.
        const { loads, reports } = yield* loadsIn(20, fleet)
        assert.isAtLeast(reports + loads, 19)
        fleet.linkA.fault(undefined, "bells")
        yield* seconds(3, fleet.both)
        assert.strictEqual((yield* loadsIn(20, fleet)).loads, 0)
      }))

    it.effect("the first call after a pause loads its view, because nothing is polled meanwhile", () =>
      Effect.gen(function*() {
        const fleet = yield* twoOn(cached, { pushes: false })
        yield* seconds(5, fleet.both)
        yield* seconds(60)
        assert.isAtLeast((yield* loadsIn(1, fleet)).loads, 1)
        assert.strictEqual((yield* loadsIn(20, fleet)).loads, 0)
      }))
  })
})

describe("a fleet with all of its circuits in trouble", () => {
  const NAMES = ["a", "b", "c", "d", "e"]

  /** Five circuits of two instances, each called every 100 ms. `fails` says whether a call fails. */
  const troubled = (openFor: "10 seconds" | "5 minutes", fails: (call: number) => boolean) =>
    Effect.gen(function*() {
      const links = yield* processes(2, { bells: true })
      const policy = { ...rate, openFor }
      const all = yield* Effect.forEach(links, (link) => Effect.forEach(NAMES, (name) => link.make(name, policy)))
      let call = 0
      const passes = (seconds: number) =>
        Effect.gen(function*() {
          for (const end = call + 10 * seconds; call < end; call++) {
            const body = fails(call) ? Effect.fail("boom") : Effect.void
            for (const breaker of all.flat()) yield* Effect.ignore(breaker.wrap(body))
            yield* Effect.andThen(TestClock.adjust("100 millis"), untilQuiet)
          }
        })
      /** The most reports of one instance about one circuit in so many seconds. */
      const mostIn = (seconds: number) =>
        Effect.gen(function*() {
          for (const { reports } of links) reports.length = 0
          yield* passes(seconds)
          const counts = links.flatMap(({ reports }) =>
            NAMES.map((name) => reports.filter(({ circuit }) => circuit === name).length)
          )
          return { most: Math.max(...counts), states: yield* Effect.forEach(all.flat(), ({ state }) => state) }
        })
      return { passes, mostIn }
    })

  it.effect("makes one report an interval, instance and circuit, while nothing opens", () =>
    Effect.gen(function*() {
      // 45 % fail, evenly: the fleet would open at 50 %, and the alert never ends.
      const { mostIn, passes } = yield* troubled("10 seconds", (call) => call > 200 && call * 9 % 20 < 9)
      yield* passes(60)
      const { most, states } = yield* mostIn(20)
      assert.isAtMost(most, 21)
      assert.isAtLeast(most, 19)
      assert.deepStrictEqual([...new Set(states)], ["Closed"])
    }))

  it.effect("looks at each open circuit once an interval, and tells its rejections as rarely as if it were healthy", () =>
    Effect.gen(function*() {
      const { mostIn, passes } = yield* troubled("5 minutes", () => true)
      yield* passes(10)
      const { most, states } = yield* mostIn(20)
      assert.isAtMost(most, 21)
      assert.deepStrictEqual([...new Set(states)], ["Open"])
    }))
})
