import { assert, describe, it } from "@effect/vitest"
import { Cause, Deferred, Effect, Exit, Fiber, Layer, Schema, Stream } from "effect"
import { Rpc, RpcClient, RpcClientError, RpcGroup, RpcMiddleware, RpcTest } from "effect/rpc"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"
import * as BreakerRpc from "../../src/rpc/RpcBreaker.ts"
import { Link as Connection, memory, slow } from "../support/storages.ts"
import { make, untilQuiet } from "../utils.ts"
import { linked } from "./support.ts"

type Errors = Breaker.BreakerOpenError | Breaker.BreakerTimeoutError | Breaker.BulkheadFullError

class Guarded extends RpcMiddleware.Service<Guarded, { clientError: Errors }>()("Guarded", {
  requiredForClient: true
}) {}

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}) {}
class Overloaded extends Schema.TaggedError<Overloaded>()("Overloaded", {}) {
  readonly [Outcome.outcome] = Outcome.failure()
}
class Mine extends Schema.TaggedError<Mine>()("Mine", {}) {
  readonly [Outcome.outcome] = Outcome.ignored
}
const Declared = Schema.Union([NotFound, Overloaded, Mine])

class Api extends RpcGroup.make(
  Rpc.make("Get", { payload: { id: Schema.String }, success: Schema.String, error: Declared }),
  Rpc.make("Put", { payload: { id: Schema.String }, success: Schema.String, error: Declared }),
  Rpc.make("List", { success: Schema.Number, error: Declared, stream: true })
).middleware(Guarded) {}

class Other extends RpcMiddleware.Service<Other, { clientError: Breaker.BreakerOpenError }>()("Other", {
  requiredForClient: true
}) {}
class Twice extends RpcGroup.make(Rpc.make("Get", { success: Schema.String })).middleware(Guarded).middleware(Other) {}

/** The middleware of the server lets everything through. */
const Passing = Layer.mergeAll(
  Layer.succeed(Guarded, (effect) => effect),
  Layer.succeed(Other, (effect) => effect)
)

const one = { trip: Trip.consecutiveFailures(1), openFor: "30 seconds" } as const

interface Handlers {
  readonly get?: Effect.Effect<string, typeof Declared.Type>
  readonly list?: Stream.Stream<number, typeof Declared.Type>
}

const serving = (
  { get = Effect.succeed("a"), list = Stream.make(1, 2) }: Handlers,
  options: Parameters<typeof linked>[1] = {}
) =>
  linked(Api, options).pipe(
    Effect.provide(Api.toLayer({ Get: () => get, Put: () => Effect.succeed("put"), List: () => list })),
    Effect.provide(Passing)
  )

type Link = Effect.Success<ReturnType<typeof serving>>

const clientOf = (
  link: Link,
  guarded: Layer.Layer<RpcMiddleware.ForClient<Guarded> | RpcClient.Protocol, never, RpcClient.Protocol>
) =>
  Effect.gen(function*() {
    const live = yield* Layer.build(Layer.provide(guarded, Layer.succeed(RpcClient.Protocol, link.protocol)))
    const client = yield* Effect.provideContext(RpcClient.make(Api), live)
    yield* untilQuiet
    return client
  })

const setUp = <const P extends Breaker.Policy>(
  name: string,
  policy: P,
  handlers: Handlers = {}
) =>
  Effect.gen(function*() {
    const breaker = yield* make(name, policy)
    const link = yield* serving(handlers)
    // Any policy's errors are among these.
    const client = yield* clientOf(link, BreakerRpc.layerClient(Guarded, breaker as Breaker.Breaker<any>))
    return { breaker, link, client, counts: countsOf(breaker) }
  })

const countsOf = ({ snapshot }: Pick<Breaker.Breaker<unknown>, "snapshot">) =>
  Effect.map(snapshot, ({ statistics: { failure, ignored, success } }) => ({ failure, ignored, success }))

/** A client of a server that never answers, and the ids of the requests that it was sent. */
const silent = (breaker: Breaker.Breaker<any>) =>
  Effect.gen(function*() {
    const requested: Array<string | number> = []
    const link = yield* serving({})
    const send: Link["protocol"]["send"] = (_client, message) =>
      Effect.sync(() => {
        if (message._tag === "Request") requested.push(message.id)
      })
    const protocol = { ...link.protocol, send }
    const client = yield* clientOf({ ...link, protocol }, BreakerRpc.layerClient(Guarded, breaker))
    return { client, link, requested }
  })

const counted = (tag: "success" | "failure" | "ignored") => ({ success: 0, failure: 0, ignored: 0, [tag]: 1 })

describe("the outcome of a procedure", () => {
  const table = [
    ["a success", Effect.succeed("a"), "success"],
    ["a declared error", Effect.fail(new NotFound()), "success"],
    ["a declared error that is a failure", Effect.fail(new Overloaded()), "failure"],
    ["a declared error that is ignored", Effect.fail(new Mine()), "ignored"],
    ["a defect", Effect.die(new Error("boom")), "failure"],
    ["an interruption by the server", Effect.interrupt, "ignored"]
  ] as const
  table.forEach(([what, get, tag], i) =>
    it.effect(`${what}: ${tag}`, () =>
      Effect.gen(function*() {
        const { client, counts } = yield* setUp(`outcome-${i}`, {}, { get })
        const exit = yield* Effect.exit(client.Get({ id: "1" }))
        assert.strictEqual(Exit.isSuccess(exit), what === "a success")
        assert.deepStrictEqual(yield* counts, counted(tag))
      }))
  )

  const streams = [
    ["its end", Stream.make(1, 2), "success"],
    ["a declared error in the middle", Stream.concat(Stream.make(1), Stream.fail(new NotFound())), "success"],
    ["its own failure", Stream.concat(Stream.make(1), Stream.fail(new Overloaded())), "failure"],
    ["a defect in the middle", Stream.concat(Stream.make(1), Stream.die(new Error("boom"))), "failure"]
  ] as const
  streams.forEach(([what, list, tag], i) =>
    it.effect(`a stream, ${what}: ${tag}`, () =>
      Effect.gen(function*() {
        const { client, counts } = yield* setUp(`stream-${i}`, {}, { list })
        yield* Effect.exit(Stream.runDrain(client.List()))
        assert.deepStrictEqual(yield* counts, counted(tag))
      }))
  )

  it.effect("a defect that ends one call alone is a failure of that call", () =>
    Effect.gen(function*() {
      const breaker = yield* make("one-defect", {})
      const link = yield* serving({ get: Effect.die(new Error("boom")) }, { disableFatalDefects: true })
      const client = yield* clientOf(link, BreakerRpc.layerClient(Guarded, breaker))
      assert.include(String(Cause.squash(yield* Effect.flip(Effect.sandbox(client.Get({ id: "1" }))))), "boom")
      assert.deepInclude((yield* breaker.snapshot).statistics, counted("failure"))
    }))

  it.effect("a failure that cannot be decoded is a failure", () =>
    Effect.gen(function*() {
      const breaker = yield* make("undecodable", {})
      const { client, link, requested } = yield* silent(breaker)
      const fiber = yield* Effect.forkChild(Effect.exit(client.Get({ id: "1" })))
      yield* untilQuiet
      const exit = { _tag: "Failure", cause: [{ _tag: "Fail", error: { _tag: "Renamed" } }] } as const
      yield* link.answer({ _tag: "Exit", requestId: requested[0]!, exit })
      assert.isTrue(Exit.isFailure(yield* Fiber.join(fiber)))
      assert.deepStrictEqual(yield* countsOf(breaker), counted("failure"))
    }))

  it.effect("a strict storage keeps the call's reply waiting, and no other message", () =>
    Effect.gen(function*() {
      const storage = new Connection(yield* memory)
      const breaker = yield* storage.make("strict-rpc", { consistency: "strict" })
      const { client, link, requested } = yield* silent(breaker)
      const call = yield* Effect.forkChild(client.Get({ id: "1" }))
      yield* untilQuiet
      storage.fault(slow(1000), "sync")
      const exit = { _tag: "Success", value: "a" } as const
      const answering = yield* Effect.forkChild(link.answer({ _tag: "Exit", requestId: requested[0]!, exit }))
      yield* untilQuiet
      assert.isDefined(answering.pollUnsafe())
      assert.isUndefined(call.pollUnsafe())
      yield* TestClock.adjust("1 second")
      assert.strictEqual(yield* Fiber.join(call), "a")
    }))

  it.effect("a stream has none before its end, and is ignored where its reader gives up", () =>
    Effect.gen(function*() {
      const { client, counts } = yield* setUp("gives-up", {}, { list: Stream.forever(Stream.make(1)) })
      const taken = client.List().pipe(
        Stream.tap(() =>
          Effect.map(counts, (now) => assert.deepStrictEqual(now, { success: 0, failure: 0, ignored: 0 }))
        ),
        Stream.take(2),
        Stream.runCollect
      )
      assert.deepStrictEqual(yield* taken, [1, 1])
      assert.deepStrictEqual(yield* counts, counted("ignored"))
    }))

  it.effect("a caller that is interrupted is ignored, frees its place, and the server is told", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const get = Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      const { breaker, client, counts } = yield* setUp("interrupted", { maxConcurrent: 1 }, { get })
      const fiber = yield* Effect.forkChild(client.Get({ id: "1" }))
      yield* untilQuiet
      assert.strictEqual((yield* Effect.flip(client.Get({ id: "1" })))._tag, "BulkheadFullError")
      yield* Fiber.interrupt(fiber)
      yield* Deferred.await(interrupted)
      assert.deepStrictEqual(yield* counts, counted("ignored"))
      assert.strictEqual(yield* client.Put({ id: "1" }), "put")
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
    }))

  it.effect("a call with discard is settled by the acknowledgement", () =>
    Effect.gen(function*() {
      const { client, counts } = yield* setUp("discard", {}, { get: Effect.never })
      yield* client.Get({ id: "1" }, { discard: true })
      assert.deepStrictEqual(yield* counts, counted("success"))
    }))

  it.effect("a request that another middleware did not send is ignored", () =>
    Effect.gen(function*() {
      const breaker = yield* make("unsent", one)
      const link = yield* linked(Twice).pipe(
        Effect.provide(Twice.toLayer({ Get: () => Effect.succeed("a") })),
        Effect.provide(Passing)
      )
      const live = Layer.mergeAll(
        RpcMiddleware.layerClient(Guarded, () => Effect.die("no token")),
        BreakerRpc.layerClient(Other, breaker)
      ).pipe(Layer.provide(Layer.succeed(RpcClient.Protocol, link.protocol)))
      const client = yield* Effect.provideContext(RpcClient.make(Twice), yield* Layer.build(live))
      const cause = yield* Effect.flip(Effect.sandbox(client.Get()))
      assert.strictEqual(Cause.squash(cause), "no token")
      assert.strictEqual(yield* link.sent, 0)
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 0, failure: 0, ignored: 1 })
    }))
})

describe("a protocol that fails", () => {
  const error = new RpcClientError.RpcClientError({
    reason: new RpcClientError.RpcClientDefect({ message: "connection lost", cause: undefined })
  })

  it.effect("fails every call that waits, before its caller knows", () =>
    Effect.gen(function*() {
      const { breaker, client, counts, link } = yield* setUp("lost", { trip: Trip.consecutiveFailures(3) }, {
        get: Effect.never,
        list: Stream.never
      })
      const get = client.Get({ id: "1" })
      const calls = [get, get, Stream.runDrain(client.List())].map((call) =>
        Effect.flatMap(Effect.flip(call), ({ _tag }) => Effect.map(breaker.state, (state) => [_tag, state]))
      )
      const fiber = yield* Effect.forkChild(Effect.all(calls, { concurrency: "unbounded" }))
      yield* untilQuiet
      yield* link.fail(error)
      const seen = yield* Fiber.join(fiber)
      assert.deepStrictEqual(seen, [
        ["RpcClientError", "Open"],
        ["RpcClientError", "Open"],
        ["RpcClientError", "Open"]
      ])
      assert.deepStrictEqual(yield* counts, { success: 0, failure: 3, ignored: 0 })
    }))

  it.effect("that cannot send opens the circuit, and then nothing is sent", () =>
    Effect.gen(function*() {
      const breaker = yield* make("unsendable", one)
      const link = yield* serving({})
      let sent = 0
      const protocol = {
        ...link.protocol,
        send: () =>
          Effect.suspend(() => {
            sent++
            return Effect.fail(error)
          })
      }
      const client = yield* clientOf({ ...link, protocol }, BreakerRpc.layerClient(Guarded, breaker))
      assert.strictEqual((yield* Effect.flip(client.Get({ id: "1" })))._tag, "RpcClientError")
      const rejection = yield* Effect.flip(client.Get({ id: "1" }))
      assert.strictEqual(rejection._tag, "BreakerOpenError")
      assert.strictEqual((rejection as Breaker.BreakerOpenError).lastFailure, error)
      assert.strictEqual((yield* Effect.flip(Stream.runDrain(client.List())))._tag, "BreakerOpenError")
      assert.strictEqual(sent, 1)
    }))
})

describe("the circuit of a client", () => {
  it.effect("opens, rejects in the method's type, and closes by a probe", () =>
    Effect.gen(function*() {
      let get: Effect.Effect<string, Overloaded> = Effect.fail(new Overloaded())
      const { breaker, client, link } = yield* setUp("probed", one, { get: Effect.suspend(() => get) })
      yield* Effect.flip(client.Get({ id: "1" }))
      const error = yield* Effect.flip(client.Get({ id: "1" }))
      assert.strictEqual(error._tag, "BreakerOpenError")
      assert.strictEqual(yield* link.sent, 1)
      yield* TestClock.adjust("30 seconds")
      get = Effect.succeed("back")
      assert.strictEqual(yield* client.Get({ id: "1" }), "back")
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("closes by an endless stream that still delivers when its place is another probe's", () =>
    Effect.gen(function*() {
      const ticks = Stream.tick("1 second").pipe(Stream.as(1))
      let list: NonNullable<Handlers["list"]> = Stream.fail(new Overloaded())
      const { breaker, client } = yield* setUp("endless", { ...one, halfOpen: { lease: "5 seconds" } }, {
        list: Stream.suspend(() => list)
      })
      yield* Effect.exit(Stream.runDrain(client.List()))
      yield* TestClock.adjust("30 seconds")
      list = ticks
      const fiber = yield* Effect.forkChild(Stream.runDrain(client.List()))
      yield* untilQuiet
      yield* TestClock.adjust("4 seconds")
      yield* untilQuiet
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      yield* TestClock.adjust("2 seconds")
      yield* untilQuiet
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* Fiber.interrupt(fiber)
    }))

  it.effect("is the procedure's by default, a function's choice, or none", () =>
    Effect.gen(function*() {
      const keyed = yield* Breaker.makeKeyed("procedures", one).pipe(Effect.provide(Storage.MemoryStorageLive))
      const link = yield* serving({ get: Effect.die("boom") })
      const client = yield* clientOf(link, BreakerRpc.layerClient(Guarded, keyed))
      yield* Effect.exit(client.Get({ id: "1" }))
      assert.strictEqual(yield* keyed.get("Get").state, "Open")
      assert.strictEqual(yield* client.Put({ id: "1" }), "put")

      const key = ({ _tag }: Rpc.AnyWithProps) => _tag === "Get" ? "reads" : _tag === "Put" ? null : ""
      const chosen = yield* clientOf(link, BreakerRpc.layerClient(Guarded, keyed, { key }))
      yield* Effect.exit(chosen.Get({ id: "1" }))
      assert.strictEqual(yield* keyed.get("reads").state, "Open")
      assert.strictEqual(yield* chosen.Put({ id: "1" }), "put")
      yield* Stream.runDrain(chosen.List())
      assert.strictEqual(yield* keyed.size, 3)
    }))

  it.effect("counts each call for both of two breakers", () =>
    Effect.gen(function*() {
      const breakers = [yield* make("outer", one), yield* make("inner", one)] as const
      const link = yield* linked(Twice).pipe(
        Effect.provide(Twice.toLayer({ Get: () => Effect.die("boom") })),
        Effect.provide(Passing)
      )
      const live = Layer.mergeAll(
        BreakerRpc.layerClient(Guarded, breakers[0]),
        BreakerRpc.layerClient(Other, breakers[1])
      ).pipe(Layer.provide(Layer.succeed(RpcClient.Protocol, link.protocol)))
      const client = yield* Effect.provideContext(RpcClient.make(Twice), yield* Layer.build(live))
      yield* untilQuiet
      yield* Effect.exit(client.Get())
      for (const breaker of breakers) assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("is not settled by a call that another middleware makes first", () =>
    Effect.gen(function*() {
      const breaker = yield* make("with-token", {})
      const tokens = yield* setUp("tokens", {})
      const link = yield* linked(Twice).pipe(
        Effect.provide(Twice.toLayer({ Get: () => Effect.die("boom") })),
        Effect.provide(Passing)
      )
      const live = Layer.mergeAll(
        RpcMiddleware.layerClient(Guarded, ({ next, request }) =>
          Effect.andThen(Effect.orDie(tokens.client.Get({ id: "token" })), next(request))),
        BreakerRpc.layerClient(Other, breaker)
      ).pipe(Layer.provide(Layer.succeed(RpcClient.Protocol, link.protocol)))
      const client = yield* Effect.provideContext(RpcClient.make(Twice), yield* Layer.build(live))
      yield* Effect.exit(client.Get())
      assert.deepInclude((yield* breaker.snapshot).statistics, counted("failure"))
      assert.deepStrictEqual(yield* tokens.counts, counted("success"))
    }))

  it.effect("a client past the layer's protocol is a defect that says what to do", () =>
    Effect.gen(function*() {
      const breaker = yield* make("unobserved", one)
      const link = yield* serving({})
      const live = BreakerRpc.layerClient(Guarded, breaker).pipe(
        Layer.provide(Layer.succeed(RpcClient.Protocol, link.protocol))
      )
      const client = yield* RpcTest.makeClient(Api).pipe(
        Effect.provide(live),
        Effect.provide(Api.toLayer({
          Get: () => Effect.never,
          Put: () => Effect.never,
          List: () => Stream.never
        })),
        Effect.provide(Passing)
      )
      const exit = yield* Effect.exit(client.Get({ id: "1" }))
      assert.isTrue(Exit.isFailure(exit))
      if (Exit.isFailure(exit)) {
        assert.include(String(Cause.squash(exit.cause)), "Provide the client with the RpcClient.Protocol of that layer")
      }
    }))
})

describe("the policy's timeout", () => {
  it.effect("ends a call, counts, and tells the server", () =>
    Effect.gen(function*() {
      const interrupted = yield* Deferred.make<void>()
      const get = Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined))
      const { breaker, client } = yield* setUp("late", { ...one, timeout: "1 second" }, { get })
      const fiber = yield* Effect.forkChild(Effect.flip(client.Get({ id: "1" })))
      yield* untilQuiet
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(fiber))._tag, "BreakerTimeoutError")
      yield* Deferred.await(interrupted)
      const { statistics } = yield* breaker.snapshot
      assert.strictEqual(statistics.timeout, 1)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("bounds the wait for a stream's first element, and not for the others", () =>
    Effect.gen(function*() {
      const late = Stream.fromEffect(Effect.delay(Effect.succeed(1), "2 seconds"))
      let list: Stream.Stream<number> = Stream.concat(Stream.make(0), late)
      const { breaker, client } = yield* setUp("first", { ...one, timeout: "1 second" }, {
        list: Stream.suspend(() => list)
      })
      const slow = yield* Effect.forkChild(Stream.runCollect(client.List()))
      yield* untilQuiet
      yield* TestClock.adjust("2 seconds")
      assert.deepStrictEqual(yield* Fiber.join(slow), [0, 1])
      const interrupted = yield* Deferred.make<void>()
      list = Stream.fromEffect(Effect.onInterrupt(Effect.never, () => Deferred.succeed(interrupted, undefined)))
      const never = yield* Effect.forkChild(Effect.flip(Stream.runCollect(client.List())))
      yield* untilQuiet
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* Fiber.join(never))._tag, "BreakerTimeoutError")
      yield* Deferred.await(interrupted)
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("leaves nothing of a call behind whose server never answers", () =>
    Effect.gen(function*() {
      const { client, link, requested } = yield* silent(yield* make("forgotten", { timeout: "1 second" }))
      const calls = [client.Get({ id: "1" }), Stream.runDrain(client.List())].map(Effect.flip)
      const fiber = yield* Effect.forkChild(Effect.all(calls, { concurrency: "unbounded" }))
      yield* untilQuiet
      yield* TestClock.adjust("1 second")
      assert.deepStrictEqual((yield* Fiber.join(fiber)).map(({ _tag }) => _tag), [
        "BreakerTimeoutError",
        "BreakerTimeoutError"
      ])
      yield* untilQuiet
      let read = 0
      for (const requestId of requested) {
        yield* link.answer({
          _tag: "Exit",
          requestId,
          get exit() {
            read++
            return { _tag: "Success", value: "late" } as const
          }
        })
      }
      assert.lengthOf(requested, 2)
      assert.strictEqual(read, 0)
    }))
})
