import { assert, describe, it } from "@effect/vitest"
import { Duration, Effect, Exit, Fiber, Result } from "effect"
import { TestClock } from "effect/testing"
import { noDelta } from "../src/core/Delta.ts"
import { type Breaker, Trip } from "../src/index.ts"
import type * as Storage from "../src/Storage/Storage.ts"
import { StorageError } from "../src/Storage/Storage.ts"
import { failing, type Fault, hanging, Link, memory, type Operation, slow } from "./support/storages.ts"
import { failTimes, rejectionOf, untilQuiet } from "./utils.ts"

const policy = {
  trip: Trip.any(Trip.consecutiveFailures(2), Trip.failures({ count: 100, within: "1 minute" })),
  openFor: "10 seconds",
  evidence: "any"
} as const

const OPEN_SECONDS = 10

/** The default. */
const LEASE_SECONDS = 30

type Answer = Storage.Synced | Storage.Changed | Storage.Probed

/** A storage's answer, changed by `f`. */
const answering = (f: (answer: Answer) => unknown): Fault => (request) =>
  Effect.map(request, (answer) => (Array.isArray(answer) ? answer.map(f) : f(answer as Answer)) as never)

const withSnapshot = (f: (snapshot: Storage.Snapshot) => unknown) =>
  answering((answer) =>
    "result" in answer
      ? { ...answer, result: Result.map(answer.result, (synced) => ({ ...synced, snapshot: f(synced.snapshot) })) }
      : { ...answer, snapshot: f(answer.snapshot) }
  )

const invalidAnswers: ReadonlyArray<readonly [string, Fault]> = [
  ["nothing", (request) => Effect.as(request, undefined as never)],
  ["a text", (request) => Effect.as(request, "OK" as never)],
  ["no snapshot", withSnapshot(() => undefined)],
  ["an empty snapshot", withSnapshot(() => ({}))],
  ["a generation that is not a number", withSnapshot((snapshot) => ({ ...snapshot, generation: NaN }))],
  ["a negative generation", withSnapshot((snapshot) => ({ ...snapshot, generation: -1 }))],
  [
    "an unknown state",
    withSnapshot((snapshot) => ({ ...snapshot, generation: 1e18, state: { _tag: "Ajar" } }))
  ],
  [
    "an open time that is not a number",
    withSnapshot((snapshot) => ({ ...snapshot, generation: 1e18, state: { _tag: "Open", remaining: "1 hour" } }))
  ]
]

const troubles: ReadonlyArray<readonly [string, Fault]> = [
  ["hangs", hanging],
  ["hangs and cannot be interrupted", () => Effect.uninterruptible(Effect.never)],
  ["dies", () => Effect.die("bug")],
  ["throws", () => {
    throw new Error("bug")
  }],
  ["returns a promise", () => Promise.resolve([]) as never],
  ...(["Unavailable", "Deadline", "Invalid", "Denied"] as const).map((reason) =>
    [`fails: ${reason}`, failing(reason)] as const
  ),
  ["answers late", slow(3000)],
  ["applies a request twice", (request) => Effect.andThen(request, request)],
  ...invalidAnswers.map(([what, fault]) => [`answers ${what}`, fault] as const)
]

const forSync: ReadonlyArray<readonly [string, Fault]> = [
  ["answers for another circuit", answering((answer) => ({ ...answer, circuit: "another" }))],
  ["returns too few answers", (request) => Effect.map(request, () => [] as never)],
  ["answers with the totals of another policy", withSnapshot((snapshot) => ({ ...snapshot, totals: [] }))]
]

/** The result of a call, which must not wait for the storage. */
const atOnce = <A, E>(call: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
    yield* untilQuiet
    const exit = fiber.pollUnsafe()
    assert.isDefined(exit, "the call waits")
    return yield* yield* Fiber.join(fiber)
  })

/** The result of a call that may wait for 100 ms: the first call of a circuit, or a probe. */
const soon = <A, E>(call: Effect.Effect<A, E>) =>
  Effect.gen(function*() {
    const fiber = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
    yield* untilQuiet
    if (fiber.pollUnsafe() === undefined) yield* TestClock.adjust("100 millis")
    yield* untilQuiet
    assert.isDefined(fiber.pollUnsafe(), "the call waits")
    return yield* yield* Fiber.join(fiber)
  })

/** Makes a call every three seconds for `seconds`, and ignores the results. */
const callsFor = (seconds: number, breaker: Breaker.Breaker<unknown>) =>
  Effect.gen(function*() {
    for (let passed = 0; passed < seconds; passed += 3) {
      yield* TestClock.adjust("3 seconds")
      yield* untilQuiet
      yield* Effect.ignore(soon(breaker.wrap(Effect.void)))
    }
  })

const cases = (["sync", "change", "probe"] as const).flatMap((operation) =>
  [...troubles, ...(operation === "sync" ? forSync : [])].map(([what, fault]) => [operation, what, fault] as const)
)

describe.each(cases)("a storage whose %s %s", (operation: Operation, _what: string, fault: Fault) => {
  it.effect("a failing storage affects no call, and after its recovery the fleet has every outcome", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const link = new Link(of)
      const breaker = yield* link.make("sick", policy)
      link.fault(fault, operation)
      assert.strictEqual(yield* soon(breaker.wrap(Effect.succeed(1))), 1)
      assert.strictEqual(yield* atOnce(breaker.wrap(Effect.succeed(2))), 2)
      assert.strictEqual(yield* Effect.flip(atOnce(breaker.wrap(Effect.fail("boom")))), "boom")
      yield* atOnce(failTimes(breaker, 1))
      assert.strictEqual((yield* atOnce(rejectionOf(breaker))).openedBy, "instance")
      yield* TestClock.adjust("12 seconds")
      yield* untilQuiet
      // The storage may have granted a lease in an answer that was lost or invalid, so this call may be rejected.
      yield* Effect.ignore(soon(breaker.wrap(Effect.succeed(3))))
      yield* callsFor(OPEN_SECONDS + 5, breaker)
      link.fault(undefined)
      // A lease whose grant was lost lapses first, and by then the circuit may have opened once more.
      yield* callsFor(LEASE_SECONDS + OPEN_SECONDS + 4, breaker)
      yield* TestClock.adjust("3 seconds")
      yield* untilQuiet
      assert.strictEqual(yield* breaker.state, "Closed")
      const { fleet, statistics } = yield* breaker.snapshot
      assert.deepInclude(fleet, { state: "Closed", reachable: true, lost: 0 })
      const { failure, ignored, rejected, success } = statistics
      assert.deepInclude(fleet?.statistics, { failure, ignored, rejected, success })
      assert.isAbove(success, 3)
    }))
})

/** The faults that break a request. Applying it twice breaks nothing. */
const breaking = [...troubles, ...forSync].filter(([what]) => what !== "applies a request twice")

describe.each(breaking)("a strict call on a storage that %s", (_what: string, fault: Fault) => {
  const strict = { ...policy, consistency: "strict" } as const

  /** The exit of a call, and after how many seconds it ended. */
  const timed = <A, E>(call: Effect.Effect<A, E>) =>
    Effect.gen(function*() {
      const fiber = yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
      yield* untilQuiet
      let seconds = 0
      for (; fiber.pollUnsafe() === undefined && seconds < 10; seconds++) {
        yield* TestClock.adjust("1 second")
        yield* untilQuiet
      }
      return [yield* Fiber.join(fiber), seconds] as const
    })

  it.effect("a strict call on a failing storage runs within the deadlines and returns its own result", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("strict", strict)
      link.fault(fault)
      for (let i = 0; i < 3; i++) {
        const [exit, seconds] = yield* timed(breaker.wrap(Effect.succeed(i)))
        assert.deepStrictEqual(exit, Exit.succeed(i))
        assert.isAtMost(seconds, 4)
      }
      link.fault(undefined)
      yield* TestClock.adjust("1 minute")
      yield* untilQuiet
      assert.strictEqual(yield* breaker.wrap(Effect.succeed(4)), 4)
    }))

  it.effect("a strict call with onStorageError fail fails before it runs, and never afterwards", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const breaker = yield* link.make("fails", { ...strict, onStorageError: "fail" })
      link.fault(fault)
      const [exit, seconds] = yield* timed(Effect.flip(breaker.wrap(Effect.die("it ran"))))
      assert.isTrue(Exit.isSuccess(exit) && exit.value._tag === "StorageError", String(exit))
      assert.isAtMost(seconds, 3)
      link.fault(undefined)
      yield* TestClock.adjust("1 minute")
      yield* untilQuiet
      const afterwards = breaker.wrap(Effect.sync(() => {
        link.fault(fault)
        return 7
      }))
      assert.deepStrictEqual((yield* timed(afterwards))[0], Exit.succeed(7))
      link.fault(undefined)
    }))
})

describe("a storage that a newer version has written to", () => {
  it.effect("the records of a newer version are obeyed, and not written", () =>
    Effect.gen(function*() {
      const of = yield* memory
      const link = new Link(of)
      const read: Storage.CircuitReport = {
        circuit: "future",
        instance: "none",
        sequence: 0,
        generation: 0,
        delta: noDelta,
        withins: [60_000]
      }
      const refusing = (written: Partial<Storage.Snapshot>): void => {
        const view = Effect.map(of.sync([read]), ([synced]) => ({
          ...Result.getOrThrow(synced!.result).snapshot,
          format: 99,
          ...written
        }))
        const answered = (f: (snapshot: Storage.Snapshot) => unknown): Fault => () => Effect.map(view, f) as never
        link.fault(
          answered((snapshot) => [{ circuit: "future", result: Result.succeed({ reported: "Refused", snapshot }) }]),
          "sync"
        )
        link.fault(answered((snapshot) => ({ committed: false, snapshot })), "change")
        link.fault(answered((snapshot) => ({ granted: false, snapshot })), "probe")
      }
      refusing({})
      const breaker = yield* link.make("future", policy)
      assert.strictEqual(yield* breaker.wrap(Effect.succeed(1)), 1)
      yield* failTimes(breaker, 2)
      assert.strictEqual((yield* rejectionOf(breaker)).openedBy, "instance")
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
      refusing({ generation: 5e15, state: { _tag: "Open", remaining: 10_000 } })
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("2 seconds")
      yield* untilQuiet
      assert.strictEqual((yield* rejectionOf(breaker)).openedBy, "fleet")
    }))
})

describe("an outage of a day", () => {
  it.effect("pending reports and requests stay bounded in an outage of a day", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const trip = Trip.failureRate({ threshold: 0.9, within: "10 minutes", minimumCalls: 10 })
      const breaker = yield* link.make("day", { trip, syncEvery: "10 seconds" })
      const [answered, unanswered] = [link.sent, link.reports].map(({ length }) => length)
      yield* breaker.wrap(Effect.void)
      link.fault(hanging)
      const hours = 24
      for (let hour = 0; hour < hours; hour++) {
        for (let i = 0; i < 60; i++) {
          yield* failTimes(breaker, 1)
          yield* breaker.wrap(Effect.void)
          yield* TestClock.adjust("1 minute")
        }
        assert.isAtMost(link.reports.at(-1)!.delta.buckets.length, 61)
        link.reports.length = 0
      }
      yield* untilQuiet
      const during = (yield* breaker.snapshot).fleet!
      const accounted = during.statistics.success + during.statistics.failure + during.lost + during.waiting
      const { failure, success } = (yield* breaker.snapshot).statistics
      assert.isAbove(during.waiting, 0)
      assert.strictEqual(accounted, success + failure)
      // One request per interval, or two while it is retried, and the flushes of failures until the storage counts as
      // unreachable.
      assert.isAtMost(link.sent.length, answered! + unanswered! + hours * 60 * 12 + 10)
      link.fault(undefined)
      yield* TestClock.adjust("1 minute")
      yield* untilQuiet
      const { fleet, statistics } = yield* breaker.snapshot
      assert.strictEqual(fleet!.waiting, 0)
      // Reports in flight when the outage began may have been counted, so they are given up after half the idle time.
      assert.strictEqual(
        fleet!.statistics.failure + fleet!.statistics.success + fleet!.lost,
        statistics.failure + statistics.success
      )
      assert.isAbove(fleet!.lost, 0)
      assert.isBelow(fleet!.lost, 200)
      assert.isTrue(fleet!.reachable)
      assert.isAtMost(fleet!.windows[0]!.calls, 22)
      assert.isTrue(Duration.isGreaterThan(Duration.seconds(70), fleet!.age!))
    }), 60_000)
})

describe("a storage of which a part is silent", () => {
  it.effect("circuits whose part of the storage answers stay with the fleet, and the others decide alone (R1)", () =>
    Effect.gen(function*() {
      const of = yield* memory
      let isHealed = false
      const isSilent = (circuit: string) => circuit.startsWith("silent") && !isHealed
      const late = (circuit: string): Storage.Synced => ({
        circuit,
        result: Result.fail(new StorageError({ operation: "sync", circuit, reason: "Deadline", cause: "no answer" }))
      })
      const link = new Link({
        ...of,
        sync: (reports) =>
          reports.every(({ circuit }) => isSilent(circuit))
            ? Effect.never
            : Effect.map(
              of.sync(reports.filter(({ circuit }) => !isSilent(circuit))),
              (synced) =>
                reports.map(({ circuit }) => synced.find((answer) => answer.circuit === circuit) ?? late(circuit))
            ),
        change: (circuit, change) => isSilent(circuit) ? Effect.never : of.change(circuit, change),
        probe: (circuit, probe) => isSilent(circuit) ? Effect.never : of.probe(circuit, probe)
      })
      const healthy = yield* link.make("healthy", policy)
      const silent = yield* link.make("silent", policy)
      const others = yield* Effect.forEach([1, 2, 3], (i) => link.make(`silent ${i}`, policy))
      const isReachable = (breaker: Breaker.Breaker<unknown>) =>
        Effect.map(breaker.snapshot, ({ fleet }) => fleet?.reachable)
      const seen: Array<boolean | undefined> = []
      for (let passed = 0; passed < 30_000; passed += 250) {
        yield* Effect.ignore(soon(healthy.wrap(Effect.void)))
        // Its failures are reported alone and at once, its trips are proposed, and its probes request leases.
        for (const breaker of [silent, ...others]) yield* Effect.ignore(soon(breaker.wrap(Effect.fail("boom"))))
        yield* TestClock.adjust("250 millis")
        yield* untilQuiet
        seen.push(yield* isReachable(healthy))
      }
      const during = [yield* isReachable(silent), (yield* silent.snapshot).state]
      isHealed = true
      yield* callsFor(OPEN_SECONDS + LEASE_SECONDS, silent)
      assert.notInclude(seen, false)
      assert.deepEqual(during, [false, "Open"])
      assert.strictEqual(yield* isReachable(silent), true)
    }))
})
