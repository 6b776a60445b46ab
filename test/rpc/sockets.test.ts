import { NodeHttpClient, NodeHttpServer, NodeSocket, NodeSocketServer } from "@effect/platform-node"
import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Layer, Schema, Scope, Stream } from "effect"
import { HttpRouter } from "effect/http"
import { Rpc, RpcClient, RpcGroup, RpcMiddleware, RpcSerialization, RpcServer } from "effect/rpc"
import { SocketServer } from "effect/socket"
import { createServer } from "node:http"
import type { AddressInfo } from "node:net"
import { type Breaker, Trip } from "../../src/index.ts"
import * as BreakerRpc from "../../src/rpc/RpcBreaker.ts"
import { eventually } from "../support/machine.ts"
import { make } from "../utils.ts"

type Errors = Breaker.BreakerOpenError | Breaker.BreakerTimeoutError

class Guarded extends RpcMiddleware.Service<Guarded, { clientError: Errors }>()("GuardedOverNetwork", {
  requiredForClient: true
}) {}

class NotFound extends Schema.TaggedError<NotFound>()("NotFound", {}) {}

class Api extends RpcGroup.make(
  Rpc.make("Get", { payload: { id: Schema.String }, success: Schema.String, error: NotFound }),
  Rpc.make("Hang"),
  Rpc.make("Count", { success: Schema.Number, error: NotFound, stream: true }),
  Rpc.make("Forever", { success: Schema.Number, stream: true })
).middleware(Guarded) {}

const one = { trip: Trip.consecutiveFailures(1), openFor: "60 seconds" } as const

/** What the hanging handler has seen. */
interface Seen {
  started: number
  interrupted: number
}

const handlers = (seen: Seen) =>
  Layer.mergeAll(
    Api.toLayer({
      Get: ({ id }) => id === "none" ? Effect.fail(new NotFound()) : Effect.succeed(`user ${id}`),
      Hang: () => {
        seen.started++
        return Effect.onInterrupt(Effect.never, () => Effect.sync(() => seen.interrupted++))
      },
      Count: () => Stream.range(1, 100),
      Forever: () => Stream.concat(Stream.make(1), Stream.never)
    }),
    Layer.succeed(Guarded, (effect) => effect)
  )

/** A server that is taken away by `stop`, and the protocol of its clients. */
interface Server {
  readonly stop: Effect.Effect<void>
  readonly protocol: Layer.Layer<RpcClient.Protocol>
}

const overHttp = (seen: Seen): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const node = createServer()
    const scope = yield* Scope.fork(yield* Effect.scope)
    yield* HttpRouter.serve(RpcServer.layerHttp({ group: Api, path: "/rpc", protocol: "http" }), {
      disableLogger: true
    }).pipe(
      Layer.provide([handlers(seen), RpcSerialization.layerNdjson]),
      Layer.provide(NodeHttpServer.layer(() => node, { port: 0, host: "127.0.0.1" })),
      Layer.buildWithScope(scope),
      Effect.orDie
    )
    const { port } = node.address() as AddressInfo
    return {
      stop: Effect.andThen(Effect.sync(() => node.closeAllConnections()), Scope.close(scope, Exit.void)),
      protocol: RpcClient.layerProtocolHttp({ url: `http://127.0.0.1:${port}/rpc` }).pipe(
        Layer.provide([NodeHttpClient.layerUndici, RpcSerialization.layerNdjson])
      )
    }
  })

const overSockets = (seen: Seen): Effect.Effect<Server, never, Scope.Scope> =>
  Effect.gen(function*() {
    const scope = yield* Scope.fork(yield* Effect.scope)
    const context = yield* RpcServer.layer(Api).pipe(
      Layer.provide(RpcServer.layerProtocolSocketServer),
      Layer.provide([handlers(seen), RpcSerialization.layerSchemaBinary()]),
      Layer.provideMerge(NodeSocketServer.layer({ port: 0, host: "127.0.0.1" })),
      Layer.buildWithScope(scope),
      Effect.orDie
    )
    const server = yield* Effect.provideContext(SocketServer.SocketServer, context)
    const { port } = server.address as { readonly port: number }
    return {
      stop: Scope.close(scope, Exit.void),
      protocol: RpcClient.layerProtocolSocket().pipe(
        Layer.provide(NodeSocket.layerNet({ port, host: "127.0.0.1" })),
        Layer.provide(RpcSerialization.layerSchemaBinary()),
        Layer.orDie
      )
    }
  })

const protocols = [["HTTP", overHttp], ["a socket", overSockets]] as const

for (const [name, serve] of protocols) {
  describe(`a guarded client over ${name}`, () => {
    const setUp = <const P extends Breaker.Policy>(circuit: string, policy: P) =>
      Effect.gen(function*() {
        const seen: Seen = { started: 0, interrupted: 0 }
        const server = yield* serve(seen)
        const breaker = yield* make(circuit, policy)
        const live = BreakerRpc.layerClient(Guarded, breaker as Breaker.Breaker<any>).pipe(
          Layer.provide(server.protocol)
        )
        const client = yield* Effect.provideContext(RpcClient.make(Api), yield* Layer.build(live))
        return { breaker, client, seen, server }
      })

    it.live("counts answers, declared errors and the ends of streams as successes", () =>
      Effect.gen(function*() {
        const { breaker, client } = yield* setUp(`answers-${name}`, one)
        assert.strictEqual(yield* client.Get({ id: "1" }), "user 1")
        assert.strictEqual((yield* Effect.flip(client.Get({ id: "none" })))._tag, "NotFound")
        assert.lengthOf(yield* Stream.runCollect(client.Count()), 100)
        assert.deepStrictEqual(yield* Stream.runCollect(Stream.take(client.Forever(), 1)), [1])
        const { failure, ignored, success } = (yield* breaker.snapshot).statistics
        assert.deepStrictEqual({ failure, ignored, success }, { failure: 0, ignored: 1, success: 3 })
      }))

    it.live("opens when the server goes away in the middle of a stream", () =>
      Effect.gen(function*() {
        const { breaker, client, server } = yield* setUp(`goes-away-${name}`, one)
        const first = yield* Deferred.make<void>()
        const reading = client.Forever().pipe(
          Stream.tap(() => Deferred.succeed(first, undefined)),
          Stream.runDrain,
          Effect.exit
        )
        const [exit] = yield* Effect.all([reading, Effect.andThen(Deferred.await(first), server.stop)], {
          concurrency: "unbounded"
        })
        assert.isTrue(Exit.isFailure(exit))
        yield* eventually(
          "a call is rejected",
          Effect.map(Effect.flip(client.Get({ id: "1" })), ({ _tag }) => _tag === "BreakerOpenError")
        )
        assert.strictEqual(yield* breaker.state, "Open")
      }))

    it.live("a timeout opens the circuit, and the server's handler is interrupted", () =>
      Effect.gen(function*() {
        const { breaker, client, seen } = yield* setUp(`timeout-${name}`, { ...one, timeout: "50 millis" })
        assert.strictEqual((yield* Effect.flip(client.Hang()))._tag, "BreakerTimeoutError")
        assert.strictEqual(yield* breaker.state, "Open")
        yield* eventually(
          "every handler that started is interrupted",
          Effect.sync(() => seen.started === seen.interrupted)
        )
      }))
  })
}
