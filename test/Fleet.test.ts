import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Scope } from "effect"
import { TestClock } from "effect/testing"
import { snapshot as snapshotOf } from "../src/core/Record.ts"
import { Breaker, Trip } from "../src/index.ts"
import type * as Storage from "../src/Storage/Storage.ts"
import { failing, type Fault, hanging, Link, lostReply, memory, processes, slow } from "./support/storages.ts"
import { failTimes, inBrief, listen, rejectionOf, untilQuiet } from "./utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const
const any = { ...two, evidence: "any" } as const
const interval = Duration.seconds(1)

const intervals = (count: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust(interval), untilQuiet), { times: count - 1 })

/** A round covers every circuit in use. It is over when its requests are answered and the answers are handled. */
const untilNextRound = intervals(1)

/** One round reports the successes, and the answer to the next includes those of the other instances. */
const untilReportedAndRead = intervals(2)

/**
 * A trip needs two snapshots that are an interval apart. The first may be the answer to a report between two rounds, so
 * the second is that of the third round.
 */
const INTERVALS_TO_TRIP = 3
const untilTwoSnapshotsAnIntervalApart = intervals(INTERVALS_TO_TRIP)

/** Two requests fail. Each begins within an interval, and fails at its deadline of a second. */
const untilUnreachable = intervals(4)

/**
 * The request under way meets its deadline, the next round follows within an interval, and two rounds send the pending
 * reports.
 */
const INTERVALS_TO_RECOVER = 4
const untilRecovered = intervals(INTERVALS_TO_RECOVER)

/** The grant is late, stays unused for an interval, and the next round gives it back. */
const untilUnusedLeaseIsGivenBack = intervals(3)

const LEASE_SECONDS = 5
const whileLeaseRuns = intervals(LEASE_SECONDS - 2)

/** A settlement is sent again for the length of a lease and two intervals. */
const untilSettlementIsGivenUp = intervals(LEASE_SECONDS + 3)

const pair = <const P extends Breaker.Policy>(
  name: string,
  policy: P,
  capabilities: Partial<Storage.Capabilities> = {}
) =>
  Effect.gen(function*() {
    const [a, b] = yield* processes(2, capabilities)
    return { a: yield* a!.make(name, policy), b: yield* b!.make(name, policy), linkA: a!, linkB: b! }
  })

describe("one circuit", () => {
  it.effect("any: the first instance that trips opens for all, at once where changes are pushed", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("pushed", any)
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* untilQuiet
      const error = yield* rejectionOf(b)
      assert.deepInclude(error, { state: "Open", openedBy: "fleet", reason: "2 consecutive failures" })
      assert.strictEqual((yield* rejectionOf(a)).openedBy, "instance")
    }))

  it.effect("any: a trip opens for all within an interval where changes are not pushed", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("polled", any, { pushes: false })
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* untilQuiet
      assert.strictEqual(yield* b.state, "Closed")
      yield* untilNextRound
      yield* rejectionOf(b)
    }))

  it.effect("pooled: evidence must trip for an interval, and opens also for instances that saw no failure", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("pooled", { ...two, trip: Trip.failures({ count: 3, within: "1 minute" }) })
      yield* failTimes(a, 2)
      yield* failTimes(b, 2)
      yield* TestClock.adjust("100 millis")
      yield* untilQuiet
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
      yield* untilTwoSnapshotsAnIntervalApart
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Open", "Open"])
      const { fleet, isolated, why } = yield* a.snapshot
      assert.deepInclude(fleet, { state: "Open", backend: "memory", reachable: true })
      assert.deepStrictEqual([isolated, why], [false, "4 failures within 60 s"])
      assert.strictEqual((yield* rejectionOf(b)).openedBy, "fleet")
    }))

  it.effect("pooled: an instance that trips on its own failures is isolated at once, and alone", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("isolated", two)
      yield* failTimes(a, 2)
      yield* untilQuiet
      const error = yield* rejectionOf(a)
      assert.deepInclude(error, { state: "Open", openedBy: "instance" })
      assert.isTrue((yield* a.snapshot).isolated)
      yield* Effect.repeat(Effect.andThen(b.wrap(Effect.void), untilNextRound), { times: 2 * INTERVALS_TO_TRIP })
      assert.strictEqual(yield* b.state, "Closed")
      yield* TestClock.adjust("10 seconds")
      yield* a.wrap(Effect.void)
      assert.strictEqual(yield* a.state, "Closed")
    }))

  it.effect("an operator's override holds for all instances, and so does lifting it", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("override", two)
      yield* b.wrap(Effect.void)
      const events = yield* listen(b)
      yield* a.override({ mode: "ForcedOpen", reason: "incident", actor: "ann" })
      yield* untilQuiet
      assert.deepInclude(yield* rejectionOf(b), { state: "ForcedOpen", openedBy: "override", reason: "incident" })
      yield* a.clearOverride({ actor: "bob" })
      yield* untilQuiet
      yield* b.wrap(Effect.void)
      assert.deepStrictEqual((yield* events).map(inBrief), [
        "ForcedOpen set",
        "Rejected by BreakerOpenError",
        "ForcedOpen cleared"
      ])
    }))

  it.effect("probes are leased by the fleet, and their successes add up across instances", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("probes", { ...any, halfOpen: { successes: 2 } })
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      const probe = yield* Effect.forkChild(a.wrap(Effect.sleep("1 second")), { startImmediately: true })
      assert.strictEqual((yield* rejectionOf(b)).state, "HalfOpen")
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(probe)
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["HalfOpen", "HalfOpen"])
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      yield* b.wrap(Effect.void)
      yield* untilQuiet
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
    }))

  it.effect("every outcome is counted once, whatever process it is of", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("counts", two)
      for (const breaker of [a, b]) {
        yield* breaker.wrap(Effect.void)
        yield* failTimes(breaker, 1)
        yield* breaker.wrap(Effect.void)
      }
      yield* untilReportedAndRead
      yield* a.wrap(Effect.void)
      yield* untilReportedAndRead
      const { fleet } = yield* a.snapshot
      assert.deepInclude(fleet?.statistics, { success: 5, failure: 2 })
    }))
})

describe("the storage", () => {
  it.effect("a storage that hangs delays the first call for 100 ms, and no other", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1)
      link!.fault(hanging)
      const breaker = yield* link!.make("hangs", two)
      const first = yield* Effect.forkChild(breaker.wrap(Effect.succeed(1)), { startImmediately: true })
      yield* untilQuiet
      assert.isUndefined(first.pollUnsafe())
      assert.strictEqual(yield* breaker.wrap(Effect.succeed(2)), 2)
      yield* TestClock.adjust("100 millis")
      assert.strictEqual(yield* Fiber.join(first), 1)
      // Two requests in a row end without an answer.
      yield* TestClock.adjust("10 seconds")
      assert.isFalse((yield* breaker.snapshot).fleet?.reachable)
      yield* failTimes(breaker, 2)
      yield* rejectionOf(breaker)
      yield* TestClock.adjust("10 seconds")
      yield* breaker.wrap(Effect.void)
      link!.fault(undefined)
      yield* untilRecovered
      assert.isTrue((yield* breaker.snapshot).fleet?.reachable)
      assert.deepInclude((yield* breaker.snapshot).fleet?.statistics, { success: 3, failure: 2 })
    }))

  it.effect("a storage whose replies are lost counts nothing twice", () =>
    Effect.gen(function*() {
      const { a, b, linkA } = yield* pair("lost", two)
      yield* a.wrap(Effect.void)
      linkA.fault(lostReply)
      yield* failTimes(a, 1)
      yield* untilUnreachable
      yield* a.wrap(Effect.void)
      linkA.fault(undefined)
      yield* untilRecovered
      yield* b.wrap(Effect.void)
      yield* untilReportedAndRead
      assert.deepInclude((yield* b.snapshot).fleet?.statistics, { success: 3, failure: 1 })
    }))

  it.effect("a storage that lost its records gets back what one instance knows", () =>
    Effect.gen(function*() {
      const first = new Link(yield* memory)
      const a = yield* first.make("wiped", any)
      yield* failTimes(a, 2)
      yield* untilQuiet
      const other = yield* memory
      first.fault(() => Effect.suspend(() => other.sync(first.reports.slice(-1))) as never, "sync")
      first.fault(() => Effect.suspend(() => other.change("wiped", first.changes.at(-1)!)) as never, "change")
      yield* untilNextRound
      const b = yield* new Link(other).make("wiped", any)
      yield* rejectionOf(b)
    }))

  it.effect("an instance that closed alone goes on when the storage is back, and confirms it with a leased probe", () =>
    Effect.gen(function*() {
      const { a, b, linkA } = yield* pair("defiant", any)
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* untilQuiet
      linkA.fault(failing("Unavailable"))
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      yield* a.wrap(Effect.void)
      assert.strictEqual(yield* a.state, "Closed")
      assert.strictEqual(yield* b.state, "Open")
      linkA.fault(undefined)
      const events = yield* listen(a)
      // One of the calls is a probe, and none is rejected.
      const calls = Effect.all([a.wrap(Effect.yieldNow), a.wrap(Effect.yieldNow)], { concurrency: 2 })
      yield* Effect.repeat(Effect.andThen(untilNextRound, calls), { times: INTERVALS_TO_RECOVER })
      yield* untilQuiet
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
      assert.strictEqual((yield* a.snapshot).fleet?.state, "Closed")
      assert.deepStrictEqual((yield* events).map(inBrief), [])
    }))

  it.effect("a lease that a slow storage grants too late serves the next call", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* pair("late lease", any)
      yield* failTimes(a, 2)
      yield* untilQuiet
      yield* TestClock.adjust("10 seconds")
      linkA.fault(slow(200), "probe")
      const late = yield* Effect.forkChild(rejectionOf(a), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      yield* Fiber.join(late)
      yield* TestClock.adjust("150 millis")
      linkA.fault(undefined)
      yield* a.wrap(Effect.void)
      yield* untilQuiet
      assert.strictEqual(yield* a.state, "Closed")
    }))
})

describe("a leased probe", () => {
  /** A circuit whose open time is over, on a storage that answers. */
  const due = (name: string) =>
    Effect.gen(function*() {
      const { a, b, linkA } = yield* pair(name, { ...any, halfOpen: { lease: Duration.seconds(LEASE_SECONDS) } })
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* untilQuiet
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      return { a, b, linkA }
    })

  const settlements = ({ probes }: Link) => probes.filter(({ _tag }) => _tag === "Settle").length

  it.effect("a leased probe whose settlement is lost is settled again with each round", () =>
    Effect.gen(function*() {
      const { a, b, linkA } = yield* due("settled again")
      yield* a.wrap(Effect.sync(() => linkA.fault(hanging, "probe")))
      yield* whileLeaseRuns
      assert.strictEqual(yield* b.state, "HalfOpen")
      linkA.fault(undefined)
      yield* untilReportedAndRead
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
    }))

  it.effect("a settlement that is never acknowledged is given up after a lease and two intervals", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* due("given up")
      yield* a.wrap(Effect.sync(() => linkA.fault(failing("Denied"), "probe")))
      yield* untilSettlementIsGivenUp
      const sent = settlements(linkA)
      assert.isAtLeast(sent, 4)
      yield* untilSettlementIsGivenUp
      assert.strictEqual(settlements(linkA), sent)
      linkA.fault(undefined)
    }))

  it.effect("a leased probe is judged by its holder where no storage answers", () =>
    Effect.gen(function*() {
      for (const [ended, state] of [[Effect.void, "Closed"], [Effect.fail("boom"), "Open"]] as const) {
        const { a, linkA } = yield* due(`alone ${state}`)
        const takes = Duration.seconds(LEASE_SECONDS - 1)
        const probe = yield* Effect.forkChild(Effect.exit(a.wrap(Effect.andThen(Effect.sleep(takes), ended))), {
          startImmediately: true
        })
        linkA.fault(failing("Unavailable"))
        yield* TestClock.adjust(takes)
        yield* Fiber.join(probe)
        yield* untilQuiet
        assert.strictEqual(yield* a.state, state)
        linkA.fault(undefined)
      }
    }))

  it.effect("by default, two instances close a circuit whose healthy calls take 40 seconds (F1)", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("slow", any)
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      const slow = <Err>(breaker: Breaker.Breaker<Err>) =>
        Effect.forkChild(breaker.wrap(Effect.as(Effect.sleep("40 seconds"), "ok")), { startImmediately: true })
      const first = yield* slow(a)
      assert.strictEqual((yield* rejectionOf(b)).state, "HalfOpen")
      yield* TestClock.adjust("31 seconds")
      yield* untilQuiet
      // The place of the first is free, so another instance probes beside it.
      const second = yield* slow(b)
      yield* untilQuiet
      assert.strictEqual((yield* rejectionOf(a)).state, "HalfOpen")
      yield* TestClock.adjust("9 seconds")
      yield* untilQuiet
      assert.strictEqual(yield* Fiber.join(first), "ok")
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
      yield* TestClock.adjust("40 seconds")
      assert.strictEqual(yield* Fiber.join(second), "ok")
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
    }))

  it.effect("a leased probe that fails after its lease reopens the circuit for all (F1)", () =>
    Effect.gen(function*() {
      const { a, b } = yield* due("late")
      const takes = Duration.seconds(2 * LEASE_SECONDS)
      const probe = yield* Effect.forkChild(
        Effect.exit(a.wrap(Effect.andThen(Effect.sleep(takes), Effect.fail("no")))),
        {
          startImmediately: true
        }
      )
      yield* rejectionOf(b)
      yield* TestClock.adjust(takes)
      yield* untilQuiet
      assert.deepStrictEqual(yield* Fiber.join(probe), Exit.fail("no"))
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Open", "Open"])
    }))

  it.effect("a leased probe that runs when the scope of its breaker closes still decides for the fleet (F1)", () =>
    Effect.gen(function*() {
      const [linkA, linkB] = yield* processes(2)
      const scope = yield* Scope.make()
      const a = yield* linkA!.make("leaves", any).pipe(Scope.provide(scope))
      const b = yield* linkB!.make("leaves", any)
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* untilQuiet
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      const probe = yield* Effect.forkChild(a.wrap(Effect.sleep("40 seconds")), { startImmediately: true })
      yield* rejectionOf(b)
      yield* Scope.close(scope, Exit.void)
      yield* TestClock.adjust("40 seconds")
      yield* untilQuiet
      yield* Fiber.join(probe)
      assert.strictEqual(yield* b.state, "Closed")
    }))

  it.effect("a leased probe that runs longer than its lease is put back with the round of a storage that lost it (F1)", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* due("put back")
      const takes = Duration.seconds(2 * LEASE_SECONDS)
      const probe = yield* Effect.forkChild(a.wrap(Effect.sleep(takes)), { startImmediately: true })
      yield* TestClock.adjust(Duration.seconds(LEASE_SECONDS + 1))
      const other = yield* memory
      linkA.moveTo(other)
      yield* TestClock.adjust(takes)
      yield* untilQuiet
      yield* Fiber.join(probe)
      const putBack = linkA.changes.find(({ _tag }) => _tag === "PutBack")
      assert.deepStrictEqual(putBack?._tag === "PutBack" && putBack.leases.map(({ remaining }) => remaining), [0])
      assert.strictEqual((yield* a.snapshot).fleet?.state, "Closed")
    }))

  it.effect("one settlement that is slow takes only its own place of three (F14)", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* pair("slow settlement", { ...any, halfOpen: { probes: 3, successes: 3 } })
      yield* failTimes(a, 2)
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      yield* a.wrap(Effect.sync(() => linkA.fault(slow(800), "probe")))
      linkA.fault(undefined)
      let running = 0
      const hanging = Effect.forkChild(
        Effect.exit(a.wrap(Effect.andThen(Effect.sync(() => running++), Effect.never))),
        {
          startImmediately: true
        }
      )
      const runningAfter = (calls: number) =>
        Effect.andThen(Effect.repeat(hanging, { times: calls - 1 }), Effect.map(untilQuiet, () => running))
      const meanwhile = yield* runningAfter(4)
      yield* TestClock.adjust(800)
      yield* untilQuiet
      assert.deepStrictEqual([meanwhile, yield* runningAfter(2)], [2, 3])
    }))

  it.effect("a lease that lapsed between two ticks is given back, and no call probes under it (F6)", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* pair("between ticks", { ...any, halfOpen: { lease: "300 millis" } })
      yield* failTimes(a, 2)
      yield* untilQuiet
      linkA.fault(failing("Unavailable"))
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      yield* a.wrap(Effect.void)
      assert.strictEqual(yield* a.state, "Closed")
      linkA.fault(undefined)
      const asks = () => linkA.probes.filter(({ _tag }) => _tag === "Ask").length
      const before = asks()
      while (asks() === before) {
        yield* a.wrap(Effect.void)
        yield* TestClock.adjust("100 millis")
        yield* untilQuiet
      }
      // The lease waits. Without a call no tick begins, and the round that gives it back has not come yet.
      yield* TestClock.adjust("500 millis")
      linkA.probes.splice(0)
      yield* a.wrap(Effect.void)
      yield* untilQuiet
      assert.isFalse(linkA.probes.some((probe) => probe._tag === "Settle" && probe.outcome._tag !== "Ignored"))
      assert.strictEqual((yield* a.snapshot).statistics.failure, 2)
    }))

  it.effect("a lease that no call used is given back after an interval", () =>
    Effect.gen(function*() {
      const { a, b, linkA } = yield* due("given back")
      linkA.fault(slow(200), "probe")
      const late = yield* Effect.forkChild(rejectionOf(a), { startImmediately: true })
      yield* TestClock.adjust("100 millis")
      yield* Fiber.join(late)
      linkA.fault(undefined)
      yield* untilUnusedLeaseIsGivenBack
      yield* b.wrap(Effect.void)
      yield* untilQuiet
      assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
    }))
})

describe("an answer", () => {
  /** The storage performs the request at once, and its answer takes 500 ms. */
  const overtaken: Fault = (request) => Effect.flatMap(request, (answer) => Effect.delay(Effect.succeed(answer), 500))

  it.effect("an answer to an older request does not undo a newer one", () =>
    Effect.gen(function*() {
      const [link] = yield* processes(1, { pushes: false })
      const a = yield* link!.make("stale", two)
      yield* a.wrap(Effect.void)
      // A change that is sent after a round is answered first.
      yield* failTimes(a, 1)
      link!.fault(overtaken, "sync")
      yield* TestClock.adjust("50 millis")
      yield* untilQuiet
      link!.fault(undefined)
      yield* a.override({ mode: "ForcedOpen", reason: "r", actor: "ann" })
      yield* TestClock.adjust("500 millis")
      yield* untilQuiet
      assert.strictEqual((yield* rejectionOf(a)).state, "ForcedOpen")
      assert.strictEqual((yield* a.snapshot).override?.mode, "ForcedOpen")
    }))

  it.effect("an answer of the same generation that others have overtaken is dropped: a denial holds", () =>
    Effect.gen(function*() {
      const { a, b, linkA } = yield* pair("overtaken", two, { pushes: false })
      yield* Effect.all([a.wrap(Effect.void), b.wrap(Effect.void)])
      yield* b.forceHalfOpen
      yield* untilNextRound
      linkA.fault(overtaken, "sync")
      // It says that no probe runs yet.
      yield* untilNextRound
      linkA.fault(undefined)
      yield* TestClock.adjust("100 millis")
      yield* Effect.forkChild(b.wrap(Effect.never), { startImmediately: true })
      assert.strictEqual((yield* rejectionOf(a)).state, "HalfOpen")
      yield* TestClock.adjust("400 millis")
      yield* untilQuiet
      assert.strictEqual((yield* rejectionOf(a)).state, "HalfOpen")
      assert.strictEqual(linkA.probes.length, 1)
    }))
})

describe("a round", () => {
  it.effect("a round is one request, whatever the call rate", () =>
    Effect.gen(function*() {
      const requests: Array<number> = []
      for (const calls of [1, 100, 10_000]) {
        const link = new Link(yield* memory)
        const breaker = yield* link.make(`rate ${calls}`, two)
        const second = Effect.gen(function*() {
          for (let i = 0; i < calls; i++) yield* breaker.wrap(Effect.void)
          yield* untilNextRound
        })
        yield* second
        const before = link.sent.length
        yield* Effect.repeat(second, { times: 9 })
        requests.push(link.sent.length - before)
      }
      assert.deepStrictEqual(requests, [10, 10, 10])
    }))

  it.effect("a round has all circuits of the process, a hundred in a request", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* Breaker.makeKeyed("batch", two).pipe(Effect.provide(link.layer))
      for (let i = 0; i < 250; i++) yield* breaker.wrap(Effect.void, { key: `key ${i}` })
      yield* untilReportedAndRead
      const before = [link.sent.length, link.reports.length]
      for (let i = 0; i < 250; i++) yield* breaker.wrap(Effect.void, { key: `key ${i}` })
      yield* untilNextRound
      assert.deepStrictEqual([link.sent.length - before[0]!, link.reports.length - before[1]!], [3, 250])
    }))
})

describe("reasons and evidence", () => {
  it.effect("a snapshot says why a circuit is open or closed, and on whose evidence", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("why", { ...two, trip: Trip.failures({ count: 3, within: "1 minute" }) })
      yield* failTimes(a, 1)
      yield* b.wrap(Effect.void)
      yield* untilNextRound
      const closed = yield* b.snapshot
      assert.deepInclude(closed, { whyNot: "0 of 3 failures within 60 s", openedBy: undefined })
      assert.strictEqual(closed.fleet?.whyNot, "1 of 3 failures within 60 s")
      const events = yield* listen(b)
      yield* failTimes(a, 2)
      assert.deepInclude(yield* a.snapshot, { openedBy: "instance", why: "3 failures within 60 s", whyNot: undefined })
      yield* untilTwoSnapshotsAnIntervalApart
      const open = yield* b.snapshot
      assert.deepInclude(open, { openedBy: "fleet", isolated: false, why: "3 failures within 60 s" })
      assert.deepInclude(open.fleet?.evidence, { by: "fleet", totals: [{ success: 1, failure: 3, slow: 0 }] })
      const [transition] = yield* events
      assert.deepInclude(transition, {
        _tag: "Transition",
        from: "Closed",
        to: "Open",
        reason: "3 failures within 60 s"
      })
      assert.deepInclude(yield* rejectionOf(b), { openedBy: "fleet", reason: "3 failures within 60 s" })
      yield* b.override({ mode: "ForcedOpen", reason: "incident", actor: "ann" })
      assert.strictEqual((yield* b.snapshot).openedBy, "override")
    }))

  it.effect("any: the evidence of a trip is that of the one instance that tripped", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("whose", any)
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* untilQuiet
      const [byA, byB] = [yield* a.snapshot, yield* b.snapshot]
      assert.deepStrictEqual([byA.openedBy, byB.openedBy], ["instance", "fleet"])
      assert.deepInclude(byB.fleet?.evidence, { by: "instance" })
      assert.deepStrictEqual(byA.fleet?.evidence, byB.fleet?.evidence)
      assert.isUndefined(byB.fleet?.whyNot)
    }))

  it.effect("a half-open circuit is the fleet's for an instance that has not seen it open", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("unseen", any, { pushes: false })
      yield* b.wrap(Effect.void)
      yield* untilReportedAndRead
      yield* failTimes(a, 2)
      yield* untilQuiet
      yield* TestClock.adjust("10 seconds")
      const probe = yield* Effect.forkChild(a.wrap(Effect.never), { startImmediately: true })
      yield* b.wrap(Effect.void)
      yield* untilNextRound
      const [byA, byB] = [yield* a.snapshot, yield* b.snapshot]
      assert.deepInclude(byA, { state: "HalfOpen", openedBy: "instance", isolated: true })
      assert.deepInclude(byB, { state: "HalfOpen", openedBy: "fleet", isolated: false })
      assert.strictEqual((yield* rejectionOf(b)).openedBy, "fleet")
      yield* Fiber.interrupt(probe)
    }))

  it.effect("a half-open circuit that an operator made is the fleet's, whoever has tripped before", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("made half-open", two)
      yield* b.wrap(Effect.void)
      yield* failTimes(a, 2)
      yield* b.forceHalfOpen
      yield* untilQuiet
      assert.deepInclude(yield* a.snapshot, { state: "HalfOpen", openedBy: "fleet", isolated: false })
      assert.deepInclude(yield* b.snapshot, { state: "HalfOpen", openedBy: "fleet", isolated: false })
    }))

  it.effect("a change that was there before an instance asked first has no lag", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("lag", any, { pushes: false })
      yield* failTimes(a, 2)
      yield* untilQuiet
      yield* TestClock.adjust("5 seconds")
      yield* rejectionOf(b)
      assert.isUndefined((yield* b.snapshot).fleet?.lag)
      yield* a.reset
      yield* TestClock.adjust("500 millis")
      yield* untilNextRound
      assert.isAtLeast(Duration.toMillis((yield* b.snapshot).fleet!.lag!), 1)
      assert.isAtMost(Duration.toMillis((yield* b.snapshot).fleet!.lag!), 1000)
    }))
})

describe("circuits that a change reaches", () => {
  it.effect("a circuit that was overridden before its first call adopts the next change", () =>
    Effect.gen(function*() {
      const { a, b } = yield* pair("spoken of", { ...two, syncEvery: "10 minutes" })
      yield* a.override({ mode: "ForcedOpen", reason: "r", actor: "ann" })
      yield* rejectionOf(a)
      yield* b.clearOverride({ actor: "bob" })
      yield* untilQuiet
      yield* a.wrap(Effect.void)
    }))

  it.effect("the circuit that all overflowing keys share adopts changes", () =>
    Effect.gen(function*() {
      const links = yield* processes(2)
      const [a, b] = yield* Effect.forEach(links, ({ layer }) =>
        Breaker.makeKeyed("overflow", { ...any, capacity: 1, overflow: "shareOne" }).pipe(Effect.provide(layer)))
      for (const breaker of [a!, b!]) {
        yield* breaker.wrap(Effect.void, { key: "first" })
        yield* breaker.wrap(Effect.void, { key: "second" })
      }
      yield* failTimes(a!.get("third"), 2)
      yield* untilQuiet
      yield* rejectionOf(b!.get("fourth"))
    }))

  it.effect("outcomes of a fiber with Enforcement metricsOnly are no evidence for the fleet", () =>
    Effect.gen(function*() {
      for (const evidence of ["any", "pooled"] as const) {
        const { a, b } = yield* pair(`watched ${evidence}`, { ...two, evidence })
        yield* b.wrap(Effect.void)
        yield* failTimes(a, 5).pipe(Effect.provideService(Breaker.Enforcement, "metricsOnly"))
        yield* untilTwoSnapshotsAnIntervalApart
        assert.deepStrictEqual([yield* a.state, yield* b.state], ["Closed", "Closed"])
        yield* b.wrap(Effect.void)
        yield* untilReportedAndRead
        assert.deepInclude((yield* b.snapshot).fleet, { state: "Closed", generation: 0 })
        assert.deepInclude((yield* b.snapshot).fleet?.statistics, { success: 2, failure: 5 })
      }
    }))

  it.effect("a denial without a time is not followed by a request for each call", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* pair("denied", any)
      yield* failTimes(a, 2)
      yield* untilQuiet
      yield* TestClock.adjust("10 seconds")
      // A storage answers like this if a newer version owns the record: the open time is over, and no other instance
      // may end it.
      const { asOf } = linkA.changes[0] as Storage.Trip
      const snapshot: Storage.Snapshot = {
        ...snapshotOf(undefined, [], asOf, Infinity),
        generation: 1,
        state: { _tag: "Open", remaining: 0 }
      }
      linkA.fault(() => Effect.succeed({ granted: false, snapshot }) as never, "probe")
      for (let i = 0; i < 50; i++) yield* rejectionOf(a)
      assert.strictEqual(linkA.probes.length, 1)
    }))
})

describe("strict", () => {
  const strict = { ...two, consistency: "strict", onStorageError: "fail" } as const

  it.effect("strict: n failures in sequence trip, on whatever instances, and the next call is rejected", () =>
    Effect.gen(function*() {
      const { a, b, linkA, linkB } = yield* pair("strict", strict, { pushes: false })
      linkA.fault(slow(20))
      linkB.fault(slow(20))
      const calls = Effect.gen(function*() {
        yield* Effect.ignore(a.wrap(Effect.fail("boom")))
        yield* Effect.ignore(b.wrap(Effect.fail("boom")))
        return yield* rejectionOf(a)
      })
      const fiber = yield* Effect.forkChild(calls, { startImmediately: true })
      while (fiber.pollUnsafe() === undefined) {
        yield* untilQuiet
        yield* TestClock.adjust("10 millis")
      }
      linkA.fault(undefined)
      linkB.fault(undefined)
      assert.strictEqual((yield* Fiber.join(fiber)).openedBy, "fleet")
    }))

  it.effect("strict: with onStorageError fail a call fails before it runs, and never after", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* pair("fails", strict)
      linkA.fault(failing("Unavailable"))
      let ran = false
      const error = yield* Effect.flip(a.wrap(Effect.sync(() => ran = true)))
      assert.deepStrictEqual([error._tag, ran], ["StorageError", false])
      linkA.fault(undefined)
      assert.strictEqual(
        yield* a.wrap(Effect.sync(() => {
          linkA.fault(failing("Unavailable"))
          return 7
        })),
        7
      )
    }))

  it.effect("strict and maxAge: a half-open circuit without a free probe rejects at once, whatever the storage does", () =>
    Effect.gen(function*() {
      for (const consistency of ["strict", { maxAge: "10 millis" }] as const) {
        const policy = { ...two, consistency }
        const { a, linkA } = yield* pair(`half-open, ${JSON.stringify(consistency)}`, policy, { pushes: false })
        yield* failTimes(a, 2)
        yield* intervals(10 + INTERVALS_TO_TRIP)
        const probe = yield* Effect.forkChild(a.wrap(Effect.never))
        yield* untilNextRound
        yield* rejectionOf(a)
        linkA.fault(hanging)
        const before = linkA.sent.length
        const call = yield* Effect.forkChild(rejectionOf(a))
        yield* untilQuiet
        const exit = call.pollUnsafe()
        const sent = linkA.sent.length - before
        // The end of the probe is reported before its fiber ends.
        linkA.fault(undefined)
        yield* Effect.forkChild(Fiber.interruptAll([call, probe]))
        yield* intervals(2)
        assert.isTrue(exit !== undefined && Exit.isSuccess(exit) && exit.value.state === "HalfOpen")
        assert.strictEqual(sent, 0)
      }
    }))

  it.effect("maxAge: calls that wait at once share a load that is young enough", () =>
    Effect.gen(function*() {
      const { a, linkA } = yield* pair("cached", { ...two, consistency: { maxAge: "300 millis" } }, { pushes: false })
      yield* a.wrap(Effect.void)
      const before = linkA.sent.length
      yield* TestClock.adjust("301 millis")
      linkA.fault(slow(10), "sync")
      const calls = yield* Effect.forkChild(
        Effect.all(Array.from({ length: 10 }, () => a.wrap(Effect.void)), { concurrency: 10 }),
        {
          startImmediately: true
        }
      )
      yield* untilQuiet
      yield* TestClock.adjust("10 millis")
      yield* Fiber.join(calls)
      linkA.fault(undefined)
      assert.isAtMost(linkA.sent.length - before, 2)
    }))
})

describe("an idle breaker", () => {
  it.effect("an idle breaker sends no request for an hour", () =>
    Effect.gen(function*() {
      for (const shared of [true, false]) {
        const link = new Link(yield* memory, { shared })
        const breaker = yield* link.make(`idle ${shared}`, two)
        yield* breaker.wrap(Effect.void)
        yield* failTimes(breaker, 1)
        yield* untilReportedAndRead
        const { length } = link.sent
        yield* TestClock.adjust("1 hour")
        yield* untilQuiet
        assert.strictEqual(link.sent.length, length)
      }
    }))
})
