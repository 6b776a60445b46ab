import { assert, describe, it } from "@effect/vitest"
import { Clock, type Duration, Effect, Exit, Fiber, Layer, Scope } from "effect"
import { TestClock } from "effect/testing"
import { setTimeout as sleep } from "node:timers/promises"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { type Fault, hanging, Link, lostReply, memory, slow } from "./support/storages.ts"
import { failTimes, make, makeKeyed, rejectionOf, untilQuiet } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const
const policy = { trip: Trip.consecutiveFailures(3), timeout: "2 seconds" } as const

const troubles: ReadonlyArray<readonly [how: string, Fault]> = [
  ["never answers", hanging],
  ["loses its replies", lostReply],
  ["answers only when the clock moves", slow(100)],
  ["never answers and cannot be interrupted", () => Effect.uninterruptible(Effect.never)]
]

const fork = <A, E, R>(self: Effect.Effect<A, E, R>) => Effect.forkChild(self, { startImmediately: true })

describe("the scope of a breaker", () => {
  it.effect("calls work and do not hang after their breaker's scope has closed", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const breaker = yield* make("closed-scope", { ...one, maxConcurrent: 1 }).pipe(Scope.provide(scope))
      const keyed = yield* makeKeyed("closed-scope-keyed", {}).pipe(Scope.provide(scope))
      yield* Scope.close(scope, Exit.void)
      yield* Scope.close(scope, Exit.void)
      assert.strictEqual(yield* breaker.wrap(Effect.as(Effect.yieldNow, 1)), 1)
      assert.strictEqual(yield* keyed.wrap(Effect.succeed(2), { key: "a" }), 2)
      yield* failTimes(breaker, 1)
      yield* rejectionOf(breaker)
      // A breaker whose scope is closed sends nothing to the storage.
      const error = yield* Effect.flip(breaker.override({ mode: "ForcedOpen", reason: "r", actor: "a" }))
      assert.deepInclude(error, { _tag: "StorageError", reason: "Unavailable" })
      assert.strictEqual((yield* rejectionOf(breaker)).state, "Open")
    }))
})

describe("the end of a breaker's scope", () => {
  for (const [how, fault] of troubles) {
    it.effect(`a scope ends on a storage that ${how}, though nobody moves the test's clock (F22)`, () =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        const scope = yield* Scope.make()
        const breaker = yield* link.make("unmoved", one).pipe(Scope.provide(scope))
        yield* breaker.wrap(Effect.void)
        link.fault(fault)
        yield* failTimes(breaker, 1)
        yield* Scope.close(scope, Exit.void)
        assert.include(link.sent, "sync")
      }))
  }

  it.effect("a scope that ends waits for a slow storage by the test's clock, while that is moved (F22)", () =>
    Effect.gen(function*() {
      const link = new Link(yield* memory)
      const scope = yield* Scope.make()
      const breaker = yield* link.make("moved", one).pipe(Scope.provide(scope))
      yield* breaker.wrap(Effect.void)
      link.fault(slow(900))
      yield* failTimes(breaker, 1)
      const closing = yield* fork(Scope.close(scope, Exit.void))
      // More real time than the scope waits for on a clock that stands still.
      for (let i = 0; i < 60; i++) {
        yield* Effect.promise(() => sleep(20))
        yield* TestClock.adjust(1)
        assert.isUndefined(closing.pollUnsafe())
      }
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(closing)
    }))
})

describe("a timeout and the breaker's scope", () => {
  it.effect("a timeout applies to calls that outlive the breaker's scope, and to later ones", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      const breaker = yield* make("outlived", policy).pipe(Scope.provide(scope))
      const before = yield* fork(breaker.wrap(Effect.never))
      yield* TestClock.adjust("1 second")
      yield* Scope.close(scope, Exit.void)
      const after = yield* fork(breaker.wrap(Effect.never))
      yield* untilQuiet
      yield* TestClock.adjust("1 second")
      assert.isDefined(before.pollUnsafe(), "a call from before")
      yield* TestClock.adjust("1 second")
      assert.isDefined(after.pollUnsafe(), "a call from after")
    }))

  it.effect("a closed scope leaves no timer of its breaker", () =>
    Effect.gen(function*() {
      const asleep = new Set<object>()
      const clock = yield* Effect.clockWith((clock) => Effect.succeed(clock))
      const watched: Clock.Clock = new Proxy(clock, {
        get: (target, key, receiver) =>
          key !== "sleep" ? Reflect.get(target, key, receiver) : (duration: Duration.Duration) => {
            const id = {}
            return Effect.suspend(() => {
              asleep.add(id)
              return Effect.ensuring(target.sleep(duration), Effect.sync(() => asleep.delete(id)))
            })
          }
      })
      yield* Effect.gen(function*() {
        const breaker = yield* make("tidy", policy)
        yield* breaker.wrap(Effect.yieldNow)
        yield* breaker.wrap(Effect.void)
        yield* untilQuiet
        assert.isAbove(asleep.size, 0)
      }).pipe(Effect.scoped, Effect.provideService(Clock.Clock, watched))
      assert.strictEqual(asleep.size, 0)
    }))

  it.effect("a breaker without calls has no timer", () =>
    Effect.gen(function*() {
      let woken = 0
      const clock = yield* Effect.clockWith((clock) => Effect.succeed(clock))
      const watched: Clock.Clock = new Proxy(clock, {
        get: (target, key, receiver) =>
          key !== "sleep" ?
            Reflect.get(target, key, receiver) :
            (duration: Duration.Duration) => Effect.tap(target.sleep(duration), Effect.sync(() => woken++))
      })
      const breaker = yield* make("idle", policy).pipe(Effect.provideService(Clock.Clock, watched))
      yield* TestClock.adjust("1 hour")
      assert.strictEqual(woken, 0)
      yield* breaker.wrap(Effect.yieldNow)
      yield* TestClock.adjust("1 minute")
      const after = woken
      yield* TestClock.adjust("1 day")
      assert.strictEqual(woken, after)
    }))

  it.effect("a breaker's scope lasts as long as its layer", () =>
    Effect.gen(function*() {
      const layer = Breaker.layer("layered", policy).pipe(Layer.provide(Storage.MemoryStorageLive))
      const fiber = yield* fork(Effect.provide(Breaker.wrap(Effect.never), layer))
      yield* TestClock.adjust("2 seconds")
      assert.instanceOf(yield* Effect.flip(Fiber.join(fiber)), Breaker.BreakerTimeoutError)
    }))
})
