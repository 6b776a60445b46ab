import { assert, describe, it } from "@effect/vitest"
import { Clock, Deferred, Duration, Effect, Exit, Fiber } from "effect"
import { TestClock } from "effect/testing"
import { queryObjects } from "node:v8"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { Deadlines } from "../src/internal/Deadlines.ts"
import { failTimes, inBrief, listen, make, rejectionOf } from "./utils.ts"

const base = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

/** A breaker whose open time is over. */
const ready = <const P extends Breaker.Policy>(policy: P) =>
  Effect.gen(function*() {
    const breaker = yield* make("half", { ...base, ...policy })
    yield* failTimes(breaker, 1)
    yield* TestClock.adjust("10 seconds")
    return breaker
  })

/** A call that runs until the test ends it. */
const pending = <Err>(breaker: Breaker.Breaker<Err>) =>
  Effect.gen(function*() {
    const gate = yield* Deferred.make<string, string>()
    const fiber = yield* Effect.forkChild(breaker.wrap(Deferred.await(gate)), { startImmediately: true })
    const end = (exit: Exit.Exit<string, string>) => Effect.andThen(Deferred.done(gate, exit), Fiber.await(fiber))
    return { fiber, end }
  })

describe("half-open", () => {
  it.effect("half-open runs `probes` calls at once, however many arrive together", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { probes: 3, successes: 3 } })
      let ran = 0
      const gate = yield* Deferred.make<void>()
      const call = breaker.wrap(Effect.suspend(() => {
        ran++
        return Deferred.await(gate)
      }))
      const fibers = yield* Effect.forEach(Array.from({ length: 10 }), () => Effect.forkChild(Effect.exit(call)))
      yield* Effect.yieldNow
      assert.strictEqual(ran, 3)
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      yield* Deferred.succeed(gate, undefined)
      const exits = yield* Effect.forEach(fibers, Fiber.join)
      assert.strictEqual(exits.filter(Exit.isSuccess).length, 3)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("half-open closes after `successes` successes, also with one probe at a time", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { successes: 3 } })
      for (const state of ["HalfOpen", "HalfOpen", "Closed"]) {
        yield* breaker.wrap(Effect.void)
        assert.strictEqual(yield* breaker.state, state)
      }
    }))

  it.effect("a sample closes where its failures stay below the rate, and reopens where they reach it", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { sample: { calls: 10, failureRate: 0.3 } } })
      const states = (outcomes: ReadonlyArray<boolean>) =>
        Effect.forEach(
          outcomes,
          (isGood) => Effect.andThen(Effect.exit(breaker.wrap(isGood ? Effect.void : Effect.fail("no"))), breaker.state)
        )
      assert.deepStrictEqual(
        yield* states([true, false, true, true, false, true, true, true, true, true]),
        [...Array.from({ length: 9 }, () => "HalfOpen"), "Closed"]
      )
      assert.strictEqual((yield* breaker.snapshot).why, "8 of 10 probes succeeded")
      yield* breaker.forceHalfOpen
      assert.deepStrictEqual(yield* states([false, true, false, false]), ["HalfOpen", "HalfOpen", "HalfOpen", "Open"])
      assert.strictEqual((yield* breaker.snapshot).why, "3 of 10 probes failed")
    }))

  it.effect("a sample that only failures of all its calls reopen closes with the first success", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { sample: { calls: 3, failureRate: 1 } } })
      yield* failTimes(breaker, 2)
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("the hint of a failed probe that does not reopen holds the next probes back", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { sample: { calls: 4, failureRate: 0.5 } } })
      yield* Effect.exit(
        breaker.wrapWith({ classify: () => Outcome.failure({ retryAfter: "5 seconds" }) })(Effect.void)
      )
      const error = yield* rejectionOf(breaker)
      assert.deepStrictEqual([error.state, error.retryAfter], ["HalfOpen", Duration.seconds(5)])
      yield* TestClock.adjust("5 seconds")
      yield* failTimes(breaker, 1)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("half-open reopens on one failure, for a new open time, then with a full round of probes", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { probes: 2, successes: 3 } })
      yield* breaker.wrap(Effect.void)
      yield* breaker.wrap(Effect.void)
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(10))
      yield* TestClock.adjust("10 seconds")
      const probes = [yield* pending(breaker), yield* pending(breaker)]
      assert.strictEqual((yield* rejectionOf(breaker)).state, "HalfOpen")
      for (const { end } of probes) yield* end(Exit.succeed("ok"))
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("a rejection in half-open has a retryAfter until the first lease ends", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { lease: "8 seconds" } })
      const probe = yield* pending(breaker)
      yield* TestClock.adjust("3 seconds")
      const error = yield* rejectionOf(breaker)
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(5))
      yield* probe.end(Exit.succeed("ok"))
      assert.deepStrictEqual(error.retryAfter, Duration.zero)
    }))

  const endings = {
    "is ignored": Effect.fail({ [Outcome.outcome]: Outcome.ignored }),
    "interrupts itself": Effect.interrupt
  }
  for (const [how, ending] of Object.entries(endings)) {
    it.effect(`a probe that ${how} gives its place to the next one, and does not close the circuit`, () =>
      Effect.gen(function*() {
        const breaker = yield* ready({})
        for (let i = 0; i < 3; i++) {
          yield* Effect.exit(breaker.wrap(ending))
          assert.strictEqual(yield* breaker.state, "HalfOpen")
        }
        yield* breaker.wrap(Effect.void)
        assert.strictEqual(yield* breaker.state, "Closed")
      }))
  }

  it.effect("an interrupted probe frees its place at once", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({})
      const { fiber } = yield* pending(breaker)
      yield* rejectionOf(breaker)
      yield* Fiber.interrupt(fiber)
      assert.strictEqual((yield* breaker.snapshot).statistics.ignored, 1)
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("a probe that dies reopens the circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({})
      yield* Effect.exit(breaker.wrap(Effect.die("defect")))
      assert.strictEqual((yield* rejectionOf(breaker)).lastFailure, "defect")
    }))

  it.effect("two failing probes make one transition", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { probes: 2 } })
      const received = yield* listen(breaker)
      const [a, b] = [yield* pending(breaker), yield* pending(breaker)]
      yield* a.end(Exit.fail("a"))
      yield* b.end(Exit.fail("b"))
      assert.deepStrictEqual((yield* received).map(inBrief), [
        "Open > HalfOpen",
        "Failure",
        "HalfOpen > Open",
        "Failure"
      ])
      assert.deepInclude((yield* breaker.snapshot).statistics, { timesOpened: 2, failure: 3 })
      assert.strictEqual((yield* rejectionOf(breaker)).lastFailure, "a")
    }))

  it.effect("a slow probe reopens the circuit, although it succeeded", () =>
    Effect.gen(function*() {
      const trip = Trip.any(base.trip, Trip.slowCallRate({ slowerThan: "1 second", threshold: 1, lastCalls: 10 }))
      const breaker = yield* ready({ trip })
      const probe = yield* pending(breaker)
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual(yield* probe.end(Exit.succeed("slow")), Exit.succeed("slow"))
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("reading a half-open circuit takes no place and changes nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({})
      const read = Effect.andThen(breaker.state, breaker.snapshot)
      for (let i = 0; i < 10; i++) yield* read
      assert.strictEqual(yield* breaker.state, "Open")
      const { end } = yield* pending(breaker)
      for (let i = 0; i < 10; i++) yield* read
      yield* end(Exit.succeed("ok"))
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("no timer makes a circuit half-open: only a call does", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({})
      const received = yield* listen(breaker)
      yield* TestClock.adjust("1 day")
      assert.deepStrictEqual(yield* received, [])
    }))
})

const storages = { "without a fleet": Storage.NullStorageLive, "on memory": Storage.MemoryStorageLive }
for (const [where, storage] of Object.entries(storages)) {
  /** A circuit with the default lease, whose next call is of this kind. */
  const before = (next: "a call" | "a probe", name: string) =>
    Effect.gen(function*() {
      const breaker = yield* Breaker.make(name, base)
      if (next === "a call") return breaker
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("10 seconds")
      return breaker
    }).pipe(Effect.provide(storage))

  describe(`a probe without a timeout, ${where}`, () => {
    it.effect(`the default heals a circuit whose healthy calls take 40 seconds, ${where} (F1)`, () =>
      Effect.gen(function*() {
        const breaker = yield* before("a probe", "slow")
        const probe = yield* Effect.forkChild(breaker.wrap(Effect.as(Effect.sleep("40 seconds"), "ok")), {
          startImmediately: true
        })
        yield* TestClock.adjust(39_999)
        assert.strictEqual(yield* breaker.state, "HalfOpen")
        yield* TestClock.adjust(1)
        assert.strictEqual(yield* Fiber.join(probe), "ok")
        assert.strictEqual(yield* breaker.state, "Closed")
        assert.deepInclude((yield* breaker.snapshot).statistics, { success: 1, failure: 1, timesOpened: 1 })
      }))

    it.effect(`a probe that fails after its lease reopens the circuit, ${where} (F1)`, () =>
      Effect.gen(function*() {
        const breaker = yield* before("a probe", "late failure")
        const { end } = yield* pending(breaker)
        yield* TestClock.adjust("50 seconds")
        assert.strictEqual(yield* breaker.state, "HalfOpen")
        assert.deepStrictEqual(yield* end(Exit.fail("no")), Exit.fail("no"))
        assert.deepInclude(yield* rejectionOf(breaker), { state: "Open", lastFailure: "no" })
      }))

    it.effect(`a probe that hangs loses its place after one lease, and another closes the circuit, ${where} (F1)`, () =>
      Effect.gen(function*() {
        const breaker = yield* before("a probe", "hung")
        const hung = yield* pending(breaker)
        yield* TestClock.adjust(29_999)
        assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.millis(1))
        yield* TestClock.adjust(1)
        const second = yield* pending(breaker)
        assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(30))
        yield* second.end(Exit.succeed("ok"))
        assert.strictEqual(yield* breaker.state, "Closed")
        assert.isUndefined(hung.fiber.pollUnsafe())
        assert.deepStrictEqual(yield* hung.end(Exit.fail("late")), Exit.fail("late"))
        assert.strictEqual(yield* breaker.state, "Closed")
      }))

    it.effect(`the first of two overlapping probes decides, whichever it is, ${where} (F1)`, () =>
      Effect.gen(function*() {
        const breaker = yield* before("a probe", "overlapping")
        const first = yield* pending(breaker)
        yield* TestClock.adjust("30 seconds")
        const second = yield* pending(breaker)
        yield* first.end(Exit.succeed("ok"))
        assert.strictEqual(yield* breaker.state, "Closed")
        yield* second.end(Exit.fail("late"))
        assert.strictEqual(yield* breaker.state, "Closed")
      }))

    for (const next of ["a call", "a probe"] as const) {
      it.effect(`${next} runs in its caller's fiber, ${where} (F2)`, () =>
        Effect.gen(function*() {
          const breaker = yield* before(next, "fiber")
          const id = Effect.withFiber(({ id }) => Effect.succeed(id))
          assert.strictEqual(yield* breaker.wrap(id), yield* id)
        }))

      it.effect(`${next} is uninterruptible where its caller is, ${where} (F2)`, () =>
        Effect.gen(function*() {
          const breaker = yield* before(next, "uninterruptible")
          const log: Array<string> = []
          const connect = Effect.andThen(Effect.sleep("40 seconds"), Effect.sync(() => log.push("connected")))
          const connection = Effect.acquireRelease(
            breaker.wrap(connect),
            () => Effect.sync(() => log.push("released"))
          )
          const fiber = yield* Effect.forkChild(Effect.scoped(connection), { startImmediately: true })
          const interruption = yield* Effect.forkChild(Fiber.interrupt(fiber), { startImmediately: true })
          yield* TestClock.adjust("40 seconds")
          yield* Fiber.join(interruption)
          assert.deepStrictEqual(log, ["connected", "released"])
          assert.strictEqual(yield* breaker.state, "Closed")
        }))

      it.effect(`what ${next} forks lives on after it, ${where} (F2)`, () =>
        Effect.gen(function*() {
          const breaker = yield* before(next, "forks")
          let beats = 0
          const heartbeat = Effect.forever(Effect.andThen(Effect.sleep("1 minute"), Effect.sync(() => beats++)))
          const child = yield* breaker.wrap(Effect.forkChild(heartbeat, { startImmediately: true }))
          yield* TestClock.adjust("3 minutes")
          assert.isUndefined(child.pollUnsafe())
          assert.strictEqual(beats, 3)
        }))
    }
  })
}

describe("a probe with a timeout", () => {
  for (const isProbe of [false, true]) {
    it.effect(`what a call with a timeout forks ends with it, ${isProbe ? "as a probe" : "closed"} (F2)`, () =>
      Effect.gen(function*() {
        const breaker = isProbe
          ? yield* ready({ timeout: "1 minute" })
          : yield* make("forks", { ...base, timeout: "1 minute" })
        const child = yield* breaker.wrap(
          Effect.andThen(Effect.yieldNow, Effect.forkChild(Effect.never, { startImmediately: true }))
        )
        assert.isTrue(Exit.hasInterrupts(yield* Fiber.await(child)))
      }))
  }

  it.effect("a probe runs until its timeout, also beyond its lease (F1)", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ timeout: "8 seconds", halfOpen: { lease: "3 seconds" } })
      const hung = yield* Effect.forkChild(breaker.wrap(Effect.never), { startImmediately: true })
      yield* TestClock.adjust("3 seconds")
      const second = yield* pending(breaker)
      yield* TestClock.adjust(4999)
      assert.isUndefined(hung.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.instanceOf(yield* Effect.flip(Fiber.join(hung)), Breaker.BreakerTimeoutError)
      assert.strictEqual(yield* breaker.state, "Open")
      yield* second.end(Exit.succeed("late"))
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("halfOpen.timeout applies to probes only, instead of the policy's timeout", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ timeout: "8 seconds", halfOpen: { timeout: "2 seconds" } })
      const probe = yield* Effect.forkChild(breaker.wrap(Effect.never), { startImmediately: true })
      yield* TestClock.adjust("2 seconds")
      const error = yield* Effect.flip(Fiber.join(probe))
      assert.deepInclude(error, { _tag: "BreakerTimeoutError", timeout: Duration.seconds(2) })
      assert.strictEqual((yield* breaker.snapshot).statistics.timeout, 1)
      yield* TestClock.adjust("10 seconds")
      yield* breaker.wrap(Effect.void)
      const call = yield* Effect.forkChild(breaker.wrap(Effect.never), { startImmediately: true })
      yield* TestClock.adjust(7999)
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust(1)
      assert.deepInclude(yield* Effect.flip(Fiber.join(call)), { timeout: Duration.seconds(8) })
    }))

  it.effect("the default lease of a probe is its timeout and a second, or 30 seconds without a timeout", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { timeout: "2 seconds" } })
      yield* pending(breaker)
      assert.deepStrictEqual((yield* rejectionOf(breaker)).retryAfter, Duration.seconds(3))
      const other = yield* ready({})
      yield* pending(other)
      assert.deepStrictEqual((yield* rejectionOf(other)).retryAfter, Duration.seconds(30))
    }))
})

describe("a ramp", () => {
  it.effect("a ramp admits a growing share of the calls after closing, then all", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ trip: Trip.consecutiveFailures(1), halfOpen: { ramp: "10 seconds" } })
      yield* breaker.wrap(Effect.void)
      assert.strictEqual(yield* breaker.state, "Closed")
      const admitted: Array<number> = []
      for (let second = 0; second < 11; second++) {
        let ran = 0
        const call = breaker.wrap(Effect.sync(() => ran++))
        for (let i = 0; i < 100; i++) yield* Effect.exit(call)
        admitted.push(ran)
        yield* TestClock.adjust("1 second")
      }
      const expected = [10, 10, 20, 30, 40, 50, 60, 70, 80, 90, 100]
      admitted.forEach((ran, second) => assert.approximately(ran, expected[second]!, 1))
      assert.strictEqual(admitted[10], 100)
    }))

  it.effect("a call that a ramp rejects has a retryAfter until the ramp ends", () =>
    Effect.gen(function*() {
      const breaker = yield* ready({ halfOpen: { ramp: "10 seconds" } })
      yield* breaker.wrap(Effect.void)
      yield* TestClock.adjust("4 seconds")
      const error = yield* rejectionOf(breaker)
      assert.deepInclude(error, { state: "HalfOpen" })
      assert.deepStrictEqual(error.retryAfter, Duration.seconds(6))
    }))
})

describe("many probes", () => {
  it.effect("ten thousand leased probes leave no queue of deadlines and no sleeping fiber (F4)", () =>
    Effect.gen(function*() {
      // A clock whose readings are unevenly apart by fractions of a millisecond, as a real one's are.
      const clock = yield* Clock.Clock
      let readings = 0
      let offset = 0n
      let sleepers = 0
      const fractional: Clock.Clock = {
        ...clock,
        monotonicTimeNanosUnsafe: () => {
          offset += BigInt((++readings ** 2) % 1009)
          return clock.monotonicTimeNanosUnsafe() + offset
        },
        sleep: (duration) =>
          Effect.suspend(() => {
            sleepers++
            return Effect.ensuring(clock.sleep(duration), Effect.sync(() => sleepers--))
          })
      }
      const breaker = yield* make("many", { ...base, halfOpen: { successes: 1_000_000 } }).pipe(
        Effect.provideService(Clock.Clock, fractional)
      )
      yield* failTimes(breaker, 1)
      yield* breaker.forceHalfOpen
      const probes = (count: number) => Effect.repeat(breaker.wrap(Effect.yieldNow), { times: count - 1 })
      yield* probes(10)
      const before = [queryObjects(Deadlines, { format: "count" }), sleepers]
      yield* probes(10_000)
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 10_010)
      assert.deepStrictEqual([queryObjects(Deadlines, { format: "count" }), sleepers], before)
    }))
})
