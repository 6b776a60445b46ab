/** Nothing of a call may outlive it: its context, its error, and what its functions had in hand. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { TestClock } from "effect/testing"
import { AsyncLocalStorage } from "node:async_hooks"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"
import { MOST_KEPT_ERRORS } from "../src/internal/KeptErrors.ts"
import { make, makeKeyed, rejectionOf } from "./utils.ts"

setFlagsFromString("--expose-gc")
const collectGarbage: () => void = runInNewContext("gc")

class Request extends Context.Service<Request, { readonly body: Uint8Array }>()("test/Request") {}
class Payments extends Breaker.Service<Payments>()("context-payments", { trip: Trip.consecutiveFailures(1) }) {}
class Tenants extends Breaker.KeyedService<Tenants>()("context-tenants", {}) {}

describe("a request's context", () => {
  it("a request's context can be collected after its call through any kind of breaker", async () => {
    const layer = Layer.mergeAll(Payments.layer, Tenants.layer, Breaker.layer("context-default", {}))
    const collected = await Effect.gen(function*() {
      const inHand = yield* Breaker.make("context-in-hand", { timeout: "1 second" })
      const wraps = [
        Payments.wrap,
        Breaker.wrap,
        inHand.wrap,
        Tenants.wrap({ key: "a" }),
        Payments.wrapWith({ classify: () => ({ _tag: "Success" }) })
      ] as ReadonlyArray<<A, E, R>(self: Effect.Effect<A, E, R>) => Effect.Effect<A, unknown, R>>
      const requests = yield* Effect.forEach(wraps, (wrap) =>
        Effect.suspend(() => {
          const request = { body: new Uint8Array(10_000) }
          return Effect.as(
            Effect.provideService(wrap(Effect.andThen(Effect.yieldNow, Request)), Request, request),
            new WeakRef(request)
          )
        }))
      // Another macrotask: what a task holds by a `WeakRef` is alive until the task ends.
      yield* Effect.promise(() => new Promise((done) => setImmediate(done)))
      collectGarbage()
      return requests.map((request) => request.deref() === undefined)
    }).pipe(Effect.provide(layer), Effect.scoped, Effect.provide(Storage.MemoryStorageLive), Effect.runPromise)
    assert.deepStrictEqual(collected, [true, true, true, true, true])
  })
})

/** Another macrotask: what a task holds by a `WeakRef` is alive until the task ends. */
const collected = (refs: ReadonlyArray<WeakRef<object>>): Effect.Effect<number> =>
  Effect.promise(async () => {
    await new Promise((done) => setImmediate(done))
    collectGarbage()
    return refs.filter((ref) => ref.deref() === undefined).length
  })

class Large extends Error {
  readonly response = { body: new Uint8Array(10_000) }
}

const times = (count: number, f: (i: number) => Effect.Effect<unknown>) =>
  Effect.forEach(Array.from({ length: count }, (_, i) => i), f, { discard: true })

describe("the error of a failure", () => {
  const keys = 2 * MOST_KEPT_ERRORS

  for (
    const [what, policy] of Object.entries<Breaker.Policy>({
      "a streak": { trip: Trip.consecutiveFailures(2) },
      "a window": { trip: Trip.failureRate({ threshold: 0.9, within: "1 hour" }) },
      "a timeout": { timeout: "1 minute" },
      "classify": { classify: (exit) => exit._tag === "Success" ? Outcome.success : Outcome.failure() }
    })
  ) {
    it.effect(`the error of a failure can be collected after the next success, with ${what} (F3)`, () =>
      Effect.gen(function*() {
        const breaker = yield* makeKeyed("closed", policy)
        const refs: Array<WeakRef<object>> = []
        const failed = Effect.suspend(() => {
          const error = new Large("down")
          refs.push(new WeakRef(error))
          return Effect.fail(error)
        })
        yield* times(keys, (i) => Effect.ignore(breaker.wrap(failed, { key: `${i}` })))
        yield* times(keys, (i) => Effect.ignore(breaker.wrap(Effect.void, { key: `${i}` })))
        assert.strictEqual(yield* collected(refs), keys)
        assert.strictEqual(yield* breaker.size, keys)
      }))
  }

  it.effect("open circuits, and those that fail and are not called again, keep a bounded number of errors (F3)", () =>
    Effect.gen(function*() {
      const breaker = yield* makeKeyed("open", { trip: Trip.consecutiveFailures(2) })
      const refs: Array<WeakRef<object>> = []
      const fail = (i: number) => {
        const error = new Large("down")
        refs[i] = new WeakRef(error)
        return Effect.ignore(breaker.wrap(Effect.fail(error), { key: `${i}` }))
      }
      yield* times(keys, (i) => i % 2 === 0 ? fail(i) : Effect.andThen(fail(i), fail(i)))
      // Each open circuit has made its rejection.
      yield* times(keys, (i) => i % 2 === 0 ? Effect.void : rejectionOf(breaker.get(`${i}`)))
      assert.strictEqual(yield* collected(refs), keys - MOST_KEPT_ERRORS)
      const [first, last] = [yield* rejectionOf(breaker.get("1")), yield* rejectionOf(breaker.get(`${keys - 1}`))]
      assert.notProperty(first, "lastFailure")
      assert.instanceOf(last.lastFailure, Large)
      assert.strictEqual(first.reason, last.reason)
    }))

  it.effect("100,000 keys that failed once with a large error, and then succeeded, keep none of them (F3)", () =>
    Effect.gen(function*() {
      const many = 100_000
      const breaker = yield* makeKeyed("many", { trip: Trip.consecutiveFailures(2), capacity: many })
      const refs: Array<WeakRef<object>> = []
      const failed = Effect.suspend(() => {
        const error = new Large("down")
        refs.push(new WeakRef(error))
        return Effect.fail(error)
      })
      yield* times(many, (i) =>
        Effect.andThen(
          Effect.ignore(breaker.wrap(failed, { key: `${i}` })),
          Effect.orDie(breaker.wrap(Effect.void, { key: `${i}` }))
        ))
      assert.strictEqual(yield* collected(refs), many)
      assert.strictEqual(yield* breaker.size, many)
    }))

  it.effect("the error of an evicted circuit can be collected (F3)", () =>
    Effect.gen(function*() {
      const breaker = yield* makeKeyed("evicted", { trip: Trip.consecutiveFailures(2), idleTimeToLive: "1 minute" })
      const fail = () => {
        const error = new Large("down")
        return Effect.as(Effect.ignore(breaker.wrap(Effect.fail(error), { key: "gone" })), new WeakRef(error))
      }
      const ref = yield* fail()
      yield* TestClock.adjust("1 hour")
      for (const key of ["a", "b"]) yield* breaker.wrap(Effect.void, { key })
      assert.strictEqual(yield* breaker.size, 2)
      assert.strictEqual(yield* collected([ref]), 1)
    }))
})

describe("an open circuit", () => {
  /** A call whose functions have a large object in hand while it is refused, or while it times out. */
  const called = <E>(wrap: Breaker.Wrap<E, never>) => {
    const request = { body: new Uint8Array(10_000) }
    const handler = {
      request,
      handle: (): Effect.Effect<unknown, unknown> => wrap(Effect.andThen(Effect.never, Effect.sync(() => request)))
    }
    return [Effect.suspend(() => handler.handle()), new WeakRef(request)] as const
  }

  it.effect("an open circuit keeps nothing of the call that it refused first (F3)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("refused", { trip: Trip.consecutiveFailures(1), openFor: "1 hour" })
      yield* Effect.ignore(breaker.wrap(Effect.fail("down")))
      const refuse = () => {
        const [call, ref] = called(breaker.wrap)
        const error = Effect.runSync(Effect.flip(call))
        return [error, ref] as const
      }
      const [error, ref] = refuse()
      assert.strictEqual(yield* collected([ref]), 1)
      assert.instanceOf(error, Breaker.BreakerOpenError)
    }))

  it.effect("an open circuit keeps nothing of the call that opened it by its timeout, or of its result (F3)", () =>
    Effect.gen(function*() {
      const breaker = yield* make("timed-out", {
        trip: Trip.consecutiveFailures(1),
        openFor: "1 hour",
        timeout: "1 second"
      })
      const time = () => {
        const result = { body: new Uint8Array(10_000) }
        const call = Effect.map(Effect.exit(breaker.wrap(Effect.never)), () => result)
        const fiber = Effect.forkChild(call, { startImmediately: true })
        return Effect.as(Effect.andThen(fiber, TestClock.adjust("1 second")), new WeakRef(result))
      }
      const ref = yield* time()
      assert.strictEqual(yield* collected([ref]), 1)
      assert.instanceOf((yield* rejectionOf(breaker)).lastFailure, Breaker.BreakerTimeoutError)
    }))
})

describe("what AsyncLocalStorage has for a call", () => {
  it("what AsyncLocalStorage has for a call can be collected after the call, whatever the call started (F3)", async () => {
    const requests = new AsyncLocalStorage<object>()
    const program = Effect.gen(function*() {
      const breaker = yield* Breaker.make("local", {
        trip: Trip.consecutiveFailures(1),
        openFor: "1 hour",
        timeout: "1 hour",
        evidence: "pooled"
      })
      const call = (self: Effect.Effect<unknown, string>) =>
        Effect.promise(() => {
          const request = { body: new Uint8Array(10_000) }
          return requests.run(request, () => Effect.runPromiseExit(breaker.wrap(self)).then(() => new WeakRef(request)))
        })
      const waits = Effect.promise(() => new Promise((done) => setTimeout(done, 5)))
      const refs = [yield* call(waits), yield* call(Effect.andThen(waits, Effect.fail("down"))), yield* call(waits)]
      yield* Effect.promise(() => new Promise((done) => setTimeout(done, 100)))
      return yield* collected(refs)
    })
    const layer = Storage.MemoryStorageLive
    assert.strictEqual(await Effect.runPromise(program.pipe(Effect.scoped, Effect.provide(layer))), 3)
  })
})
