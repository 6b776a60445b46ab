import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, type Layer, Schema, Stream } from "effect"
import { Rpc, RpcGroup, RpcMiddleware, RpcTest } from "effect/rpc"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"
import * as BreakerRpc from "../../src/rpc/RpcBreaker.ts"
import { make, untilQuiet } from "../utils.ts"

const Rejections = Schema.Union([Breaker.BreakerOpenError, Breaker.BreakerTimeoutError, Breaker.BulkheadFullError])

class Shed extends RpcMiddleware.Service<Shed>()("Shed", { error: Rejections }) {}

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}) {}
class Overloaded extends Schema.TaggedError<Overloaded>()("Overloaded", {}) {
  readonly [Outcome.outcome] = Outcome.failure()
}
const Declared = Schema.Union([NotFound, Overloaded])

class Api extends RpcGroup.make(
  Rpc.make("Get", { success: Schema.String, error: Declared }),
  Rpc.make("Put", { success: Schema.String, error: Declared }),
  Rpc.make("List", { success: Schema.Number, error: Declared, stream: true })
).middleware(Shed) {}

const one = { trip: Trip.consecutiveFailures(1), openFor: "30 seconds" } as const

interface Handlers {
  readonly get?: Effect.Effect<string, typeof Declared.Type>
  readonly list?: Stream.Stream<number, typeof Declared.Type>
}

const clientOf = (
  guarded: Layer.Layer<Shed>,
  { get = Effect.succeed("a"), list = Stream.make(1, 2) }: Handlers
) =>
  RpcTest.makeClient(Api, { disableFatalDefects: true }).pipe(
    Effect.provide(Api.toLayer({ Get: () => get, Put: () => Effect.succeed("put"), List: () => list })),
    Effect.provide(guarded)
  )

describe("the server side", () => {
  const table: ReadonlyArray<readonly [string, NonNullable<Handlers["get"]>, "success" | "failure"]> = [
    ["a success", Effect.succeed("a"), "success"],
    ["a declared error", Effect.fail(new NotFound()), "success"],
    ["a declared error that is a failure", Effect.fail(new Overloaded()), "failure"],
    ["a defect", Effect.die(new Error("boom")), "failure"]
  ]
  table.forEach(([what, get, tag], i) =>
    it.effect(`${what}: ${tag}, also in a stream`, () =>
      Effect.gen(function*() {
        const breaker = yield* make(`handler-${i}`, {})
        const client = yield* clientOf(BreakerRpc.layer(Shed, breaker), {
          get,
          list: Stream.concat(Stream.make(1), Stream.fromEffect(Effect.as(get, 2)))
        })
        const none = { success: 0, failure: 0, ignored: 0 }
        const exit = yield* Effect.exit(client.Get())
        assert.strictEqual(Exit.isSuccess(exit), tag === "success" && what !== "a declared error")
        assert.deepInclude((yield* breaker.snapshot).statistics, { ...none, [tag]: 1 })
        yield* Effect.exit(Stream.runDrain(client.List()))
        assert.deepInclude((yield* breaker.snapshot).statistics, { ...none, [tag]: 2 })
      }))
  )

  it.effect("opens, rejects before the handler, and closes by a probe", () =>
    Effect.gen(function*() {
      let handled = 0
      let get: Effect.Effect<string, Overloaded> = Effect.fail(new Overloaded())
      const breaker = yield* make("sheds", one)
      const client = yield* clientOf(BreakerRpc.layer(Shed, breaker), {
        get: Effect.suspend(() => {
          handled++
          return get
        })
      })
      yield* Effect.flip(client.Get())
      assert.strictEqual((yield* Effect.flip(client.Get()))._tag, "BreakerOpenError")
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(client.List())))._tag, "BreakerOpenError")
      assert.strictEqual(handled, 1)
      yield* TestClock.adjust("30 seconds")
      get = Effect.succeed("back")
      assert.strictEqual(yield* client.Get(), "back")
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("has a bulkhead, whose places come back when a client goes away, from streams too", () =>
    Effect.gen(function*() {
      const breaker = yield* make("full", { maxConcurrent: 1 })
      const client = yield* clientOf(BreakerRpc.layer(Shed, breaker), {
        get: Effect.never,
        list: Stream.concat(Stream.make(1), Stream.never)
      })
      for (const call of [client.Get(), Stream.runDrain(client.List())]) {
        const fiber = yield* Effect.forkChild(call)
        yield* untilQuiet
        assert.strictEqual((yield* Effect.flip(client.Put()))._tag, "BulkheadFullError")
        yield* Fiber.interrupt(fiber)
        yield* untilQuiet
        assert.strictEqual(yield* client.Put(), "put")
      }
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 2, failure: 0, ignored: 2 })
    }))

  it.effect("the policy's timeout ends a handler, and not a stream", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const breaker = yield* make("slow-handler", { timeout: "1 second" })
      const client = yield* clientOf(BreakerRpc.layer(Shed, breaker), {
        get: Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)),
        list: Stream.fromEffect(Effect.delay(Effect.succeed(7), "2 seconds"))
      })
      const get = yield* Effect.forkChild(Effect.flip(client.Get()))
      const list = yield* Effect.forkChild(Stream.runCollect(client.List()))
      yield* untilQuiet
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual((yield* Fiber.join(get))._tag, "BreakerTimeoutError")
      yield* Deferred.await(interrupted)
      assert.deepStrictEqual(yield* Fiber.join(list), [7])
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 1, failure: 1, timeout: 1 })
    }))

  it.effect("has a circuit for each procedure, or by a function, or none", () =>
    Effect.gen(function*() {
      const keyed = yield* Breaker.makeKeyed("handlers", one).pipe(Effect.provide(Storage.MemoryStorageLive))
      const handlers = { get: Effect.die("boom") }
      const client = yield* clientOf(BreakerRpc.layer(Shed, keyed), handlers)
      yield* Effect.exit(client.Get())
      assert.strictEqual(yield* keyed.get("Get").state, "Open")
      assert.strictEqual(yield* client.Put(), "put")
      const key = ({ _tag }: Rpc.AnyWithProps) => _tag === "Get" ? "reads" : _tag === "Put" ? null : ""
      const chosen = yield* clientOf(BreakerRpc.layer(Shed, keyed, { key }), handlers)
      yield* Effect.exit(chosen.Get())
      assert.strictEqual(yield* keyed.get("reads").state, "Open")
      yield* chosen.Put()
      yield* Stream.runDrain(chosen.List())
      assert.strictEqual(yield* keyed.size, 3)
    }))

  it.effect("does not send the last failure, or an operator's reason", () =>
    Effect.gen(function*() {
      const encoded = yield* Schema.encodeEffect(Schema.toCodecJson(Rejections))(
        new Breaker.BreakerOpenError({
          circuit: "db",
          state: "Open",
          openedBy: "override",
          reason: "incident 4711",
          lastFailure: new Error("password=hunter2")
        })
      )
      assert.notMatch(JSON.stringify(encoded), /4711|hunter2/)
    }))
})
