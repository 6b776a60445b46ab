/** Nothing of a call's context may outlive the call. */
import { assert, describe, it } from "@effect/vitest"
import { Context, Effect, Layer } from "effect"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Breaker, Storage, Trip } from "../src/index.ts"

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
