import { assert, describe, it } from "@effect/vitest"
import { Clock, Context, Deferred, Effect, Exit, Fiber, Layer, References, Scope, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { failTimes, inBrief, listen, make, makeKeyed, untilQuiet, withReports } from "./utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const

describe("events", () => {
  it.effect("events report the life of a circuit in order", () =>
    Effect.gen(function*() {
      const breaker = yield* make("life", { ...two, maxConcurrent: 1, timeout: "1 second" })
      const received = yield* listen(breaker)
      yield* breaker.wrap(Effect.void)
      yield* failTimes(breaker, 1)
      const slow = yield* Effect.forkChild(Effect.exit(breaker.wrap(Effect.never)), { startImmediately: true })
      yield* Effect.exit(breaker.wrap(Effect.void))
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(slow)
      yield* Effect.exit(breaker.wrap(Effect.void))
      yield* TestClock.adjust("10 seconds")
      yield* breaker.wrap(Effect.void)
      const events = yield* received
      assert.deepStrictEqual(events.map(inBrief), [
        "Failure",
        "Rejected by BulkheadFullError",
        "Timeout",
        "Closed > Open",
        "Rejected by BreakerOpenError",
        "Open > HalfOpen",
        "HalfOpen > Closed"
      ])
      for (const event of events) assert.deepInclude(event, { circuit: "life" })
    }))

  it.effect("a Transition event carries the counts that caused it", () =>
    Effect.gen(function*() {
      const trip = Trip.failureRate({ threshold: 0.5, lastCalls: 10, minimumCalls: 4 })
      const breaker = yield* make("counts", { trip, openFor: "10 seconds" })
      const received = yield* listen(breaker)
      yield* breaker.wrap(Effect.void)
      yield* breaker.wrap(Effect.void)
      yield* failTimes(breaker, 2)
      const transition = (yield* received).find((event) => event._tag === "Transition")
      assert.deepInclude(transition, { from: "Closed", to: "Open" })
      assert.include(transition?.reason, "failure rate 0.50 of the last 4 calls")
      const { snapshot } = transition!
      assert.strictEqual(snapshot.state, "Closed")
      assert.deepInclude(snapshot.windows[0], { calls: 4, failures: 2, failureRate: 0.5 })
      assert.deepInclude(snapshot.statistics, { success: 2, failure: 2, timesOpened: 0 })
    }))

  it.effect("a Failure event carries the error, defect or value of the call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("errors", {})
      const received = yield* listen(breaker)
      yield* failTimes(breaker, 1, "an error")
      yield* Effect.exit(breaker.wrap(Effect.die("a defect")))
      yield* breaker.wrapWith(Effect.succeed("a value"), { classify: () => ({ _tag: "Failure" }) })
      const errors = (yield* received).map((event) => event._tag === "Failure" ? event.error : event._tag)
      assert.deepStrictEqual(errors, ["an error", "a defect", "a value"])
    }))

  it.effect("the Failure event of a late failure carries that call's error", () =>
    Effect.gen(function*() {
      const breaker = yield* make("late", two)
      const gate = yield* Deferred.make<never, string>()
      const late = yield* Effect.forkChild(breaker.wrap(Deferred.await(gate)), { startImmediately: true })
      yield* failTimes(breaker, 2)
      const received = yield* listen(breaker)
      yield* Deferred.fail(gate, "late")
      yield* Fiber.await(late)
      assert.deepInclude((yield* received)[0], { _tag: "Failure", error: "late" })
    }))

  it.effect("an inner breaker's timeout is a Failure event of the outer breaker, not a Timeout", () =>
    Effect.gen(function*() {
      const inner = yield* make("inner", { timeout: "1 second" })
      const outer = yield* make("outer", {})
      const received = yield* listen(outer)
      const fiber = yield* Effect.forkChild(Effect.exit(outer.wrap(inner.wrap(Effect.never))), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(fiber)
      assert.deepStrictEqual((yield* received).map(inBrief), ["Failure"])
    }))

  it.effect("events begin when a listener subscribes, and reach every listener", () =>
    Effect.gen(function*() {
      const breaker = yield* make("two-listeners", {})
      yield* failTimes(breaker, 1)
      const first = yield* listen(breaker)
      yield* failTimes(breaker, 1)
      const second = yield* listen(breaker)
      yield* failTimes(breaker, 1)
      assert.strictEqual((yield* first).length, 2)
      assert.strictEqual((yield* second).length, 1)
    }))

  it.effect("a slow listener gets a Lost event with the number of dropped events, before the first that is left", () =>
    Effect.gen(function*() {
      const breaker = yield* make("slow-listener", { trip: Trip.consecutiveFailures(1_000_000) })
      const begun = yield* Deferred.make<void>()
      const go = yield* Deferred.make<void>()
      const received: Array<Breaker.Event> = []
      const fiber = yield* breaker.events.pipe(
        Stream.rechunk(1),
        Stream.runForEach((event) =>
          Effect.gen(function*() {
            received.push(event)
            if (received.length > 1) return
            yield* Deferred.succeed(begun, undefined)
            yield* Deferred.await(go)
          })
        ),
        Effect.forkChild({ startImmediately: true })
      )
      yield* failTimes(breaker, 1, 0)
      yield* Deferred.await(begun)
      for (let n = 1; n <= 3000; n++) yield* failTimes(breaker, 1, n)
      yield* Deferred.succeed(go, undefined)
      yield* untilQuiet
      yield* Fiber.interrupt(fiber)
      const numbers = received.map((event) => event._tag === "Failure" ? event.error : inBrief(event))
      const lost = received.filter((event) => event._tag === "Lost")
      const got = numbers.filter((number) => typeof number === "number")
      assert.strictEqual(lost.length, 1, "one gap is reported once")
      assert.strictEqual(got.length + lost[0]!.count, 3001)
      assert.isAtLeast(got.length, 1024)
      const at = numbers.findIndex((number) => typeof number === "string")
      assert.strictEqual(Number(numbers[at + 1]) - Number(numbers[at - 1]) - 1, lost[0]!.count, "where the gap is")
      assert.strictEqual(numbers.at(-1), 3000)
    }))

  it.effect("without listeners no snapshots of events are made", () =>
    Effect.gen(function*() {
      const breaker = yield* make("unheard", two)
      let looked = 0
      const clock = yield* Effect.clockWith((clock) => Effect.succeed(clock))
      // A request to a storage reads the wall clock, too. This storage gets none.
      const counted = yield* Breaker.make("unheard", two).pipe(
        Effect.provide(Storage.NullStorageLive),
        // A log line reads it, too.
        Effect.provideService(References.MinimumLogLevel, "None"),
        Effect.provideService(
          Clock.Clock,
          new Proxy(clock, {
            get: (target, key, receiver) => {
              // Only a snapshot reads the wall clock.
              if (key === "currentTimeMillisUnsafe") looked++
              return Reflect.get(target, key, receiver)
            }
          })
        )
      )
      looked = 0
      yield* failTimes(counted, 3)
      assert.strictEqual(looked, 0)
      const received = yield* listen(counted)
      yield* failTimes(counted, 1)
      assert.isAbove(looked, 0)
      yield* received
      looked = 0
      yield* counted.reset
      yield* failTimes(counted, 3)
      assert.strictEqual(looked, 0)
      yield* breaker.reset
    }))

  it.effect("events of a keyed breaker are those of all keys; events of a key are its own", () =>
    Effect.gen(function*() {
      const keyed = yield* makeKeyed("events", {})
      const all = yield* listen(keyed)
      const a = yield* listen(keyed.get("a"))
      for (const key of ["a", "b", "a"]) yield* Effect.exit(keyed.wrap(Effect.fail("no"), { key }))
      const circuits = (events: ReadonlyArray<Breaker.Event>) =>
        events.map((event) => event._tag === "Lost" ? "" : event.circuit)
      assert.deepStrictEqual(circuits(yield* all), ["events/a", "events/b", "events/a"])
      assert.deepStrictEqual(circuits(yield* a), ["events/a", "events/a"])
    }))
})

describe("onEvent", () => {
  class Api extends Breaker.Service<Api>()("api-events", { trip: Trip.consecutiveFailures(2), openFor: "1 minute" }) {}
  const live = Api.layer.pipe(Layer.provide(Storage.MemoryStorageLive))
  const fail = Effect.ignore(Api.wrap(Effect.fail("no")))
  const withHook = <E>(hook: (event: Breaker.Event) => Effect.Effect<unknown, E>) =>
    Layer.provideMerge(Breaker.onEvent(Api, hook), live)

  it.effect("onEvent runs the hook for each event, in order and one at a time", () => {
    const log: Array<string> = []
    const hook = (event: Breaker.Event) =>
      Effect.gen(function*() {
        log.push(`begin ${inBrief(event)}`)
        yield* Effect.yieldNow
        log.push(`end ${inBrief(event)}`)
      })
    return Effect.gen(function*() {
      yield* fail
      yield* fail
      yield* untilQuiet
      const expected = ["Failure", "Failure", "Closed > Open"].flatMap((event) => [`begin ${event}`, `end ${event}`])
      assert.deepStrictEqual(log, expected)
    }).pipe(Effect.provide(withHook(hook)))
  })

  const faults: Record<string, () => Effect.Effect<unknown, string>> = {
    "fails": () => Effect.fail("bad hook"),
    "dies": () => Effect.die("bad hook"),
    "throws": () => {
      throw new Error("bad hook")
    }
  }
  for (const [how, fault] of Object.entries(faults)) {
    it.effect(`onEvent logs a hook that ${how}, continues with the next event, and does not affect calls`, () =>
      withReports((reports) => {
        const received: Array<string> = []
        const hook = (event: Breaker.Event) => {
          received.push(event._tag)
          return fault()
        }
        return Effect.gen(function*() {
          assert.strictEqual(yield* Effect.flip(Api.wrap(Effect.fail("mine"))), "mine")
          yield* fail
          yield* untilQuiet
          assert.deepStrictEqual(received, ["Failure", "Failure", "Transition"])
          assert.deepStrictEqual(reports.map(({ level }) => level), ["Warn", "Warn", "Warn"])
        }).pipe(Effect.provide(withHook(hook)))
      }))
  }

  it.effect("onEvent continues after a hook that interrupted itself", () => {
    const received: Array<string> = []
    const hook = (event: Breaker.Event) => {
      received.push(event._tag)
      return Effect.interrupt
    }
    return Effect.gen(function*() {
      yield* fail
      yield* fail
      yield* untilQuiet
      assert.deepStrictEqual(received, ["Failure", "Failure", "Transition"])
    }).pipe(Effect.provide(withHook(hook)))
  })

  it.effect("a hook of onEvent that never returns does not slow calls", () =>
    Effect.gen(function*() {
      for (let i = 0; i < 5000; i++) yield* fail
      assert.strictEqual(yield* Effect.flatMap(Api, (api) => api.state), "Open")
    }).pipe(Effect.provide(withHook(() => Effect.never))))

  it.effect("a hook of onEvent gets its services from where the layer is built", () => {
    class Pager extends Context.Service<Pager, Array<string>>()("test/Pager") {}
    const pages: Array<string> = []
    const hook = Breaker.onEvent(Api, (event) =>
      event._tag === "Transition"
        ? Effect.map(Pager, (pager) => pager.push(`${event.circuit} ${event.to}`))
        : Effect.void)
    return Effect.gen(function*() {
      yield* fail
      yield* fail
      yield* untilQuiet
      yield* TestClock.adjust("1 minute")
      yield* Effect.orDie(Api.wrap(Effect.void))
      yield* untilQuiet
      assert.deepStrictEqual(pages, ["api-events Open", "api-events HalfOpen", "api-events Closed"])
    }).pipe(Effect.provide(hook.pipe(Layer.provideMerge(live), Layer.provide(Layer.succeed(Pager, pages)))))
  })

  it.effect("onEvent listens to a keyed service, too", () => {
    class Hosts extends Breaker.KeyedService<Hosts>()("hosts-events", {}) {}
    const received: Array<string> = []
    const hook = Breaker.onEvent(Hosts, (event) => Effect.sync(() => received.push(inBrief(event))))
    return Effect.gen(function*() {
      yield* Effect.exit(Hosts.wrap(Effect.fail("no"), { key: "a" }))
      yield* untilQuiet
      assert.deepStrictEqual(received, ["Failure"])
    }).pipe(Effect.provide(hook.pipe(Layer.provideMerge(Hosts.layer), Layer.provide(Storage.MemoryStorageLive))))
  })

  it.effect("onEvent ends with its scope", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const received: Array<string> = []
      const finalized: Array<string> = []
      const hook = (event: Breaker.Event) =>
        Effect.sync(() => received.push(event._tag)).pipe(
          Effect.andThen(Effect.never),
          Effect.onInterrupt(() => Effect.sync(() => finalized.push(event._tag)))
        )
      const api = yield* Api
      yield* Layer.buildWithScope(Layer.provide(Breaker.onEvent(Api, hook), Layer.succeed(Api, api)), scope)
      yield* fail
      yield* untilQuiet
      yield* Scope.close(scope, Exit.void)
      yield* fail
      yield* untilQuiet
      assert.deepStrictEqual([received, finalized], [["Failure"], ["Failure"]])
    }).pipe(Effect.provide(live)))
})
