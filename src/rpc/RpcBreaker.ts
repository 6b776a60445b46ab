/**
 * Circuit breakers in `RpcGroup`s: middleware on both sides.
 *
 * The declared error of a procedure is an answer, and a Success, unless the error carries its own outcome under
 * `Outcome.outcome`: the errors of this package do, and are `Ignored`. Errors of the protocol, and defects, are Failures.
 * Interruption is `Ignored`. A procedure with a stream has its outcome at the stream's end. This takes the place of the policy's
 * `classify`.
 *
 * **Example** (A client whose calls go through a breaker)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer, Schema } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 * import * as BreakerRpc from "effect-breaker/rpc/RpcBreaker"
 * import { FetchHttpClient } from "effect/http"
 * import { Rpc, RpcClient, RpcGroup, RpcMiddleware, RpcSerialization } from "effect/rpc"
 *
 * class Users extends Breaker.Service<Users>()("users-rpc", { trip: Trip.consecutiveFailures(1) }) {}
 * class Guarded extends RpcMiddleware.Service<Guarded, { clientError: Breaker.BreakerOpenError }>()("Guarded", {
 *   requiredForClient: true
 * }) {}
 * class Api extends RpcGroup.make(
 *   Rpc.make("GetUser", { payload: { id: Schema.Number }, success: Schema.String })
 * ).middleware(Guarded) {}
 *
 * const ClientLive = BreakerRpc.layerClient(Guarded, Users).pipe(
 *   Layer.provide(RpcClient.layerProtocolHttp({ url: "http://users.test/rpc" })),
 *   Layer.provide([RpcSerialization.layerJson, FetchHttpClient.layer]),
 *   Layer.provide(Users.layer),
 *   Layer.provide(Storage.MemoryStorageLive)
 * )
 *
 * const program = Effect.gen(function*() {
 *   const users = yield* RpcClient.make(Api)
 *   const errorOf = Effect.map(Effect.flip(users.GetUser({ id: 1 })), ({ _tag }) => _tag)
 *   return [yield* errorOf, yield* errorOf]
 * }).pipe(
 *   Effect.scoped,
 *   Effect.provide(ClientLive),
 *   Effect.provideService(FetchHttpClient.Fetch, () => Promise.reject(new Error("connection refused")))
 * )
 *
 * await Effect.runPromise(program) // => ["RpcClientError", "BreakerOpenError"]
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import type * as Rpc from "effect/rpc/Rpc"
import * as RpcClient from "effect/rpc/RpcClient"
import * as RpcMiddleware from "effect/rpc/RpcMiddleware"
import * as RpcSchema from "effect/rpc/RpcSchema"
import type { Guard, KeyedGuard, Permit } from "../Guard.ts"
import type { Outcome } from "../Outcome.ts"
import { observed, untilReply } from "./internal/Calls.ts"
import { classifyAnswer, settleBy, withPermit } from "./internal/Settle.ts"

/**
 * Which circuit a call is for. `rpc`: that of the procedure's tag. A function: that of its key; `null` and an empty key are
 * unguarded.
 *
 * @category models
 * @since 0.1.0
 */
export type Key = "rpc" | ((rpc: Rpc.AnyWithProps) => string | null)

type TypeId = RpcMiddleware.TypeId
type Ids = RpcMiddleware.AnyId
type AnyGuard = Guard<any, any> | KeyedGuard<any, any>
type Effects = Effect.Effect<any, any, any>

/** A breaker for one procedure: a guard, or a keyed one with its key; `undefined` where the procedure is unguarded. */
const guardOf = (breaker: AnyGuard, key: Key, rpc: Rpc.AnyWithProps) => {
  if ("wrapWith" in breaker) {
    return {
      permit: breaker.permit as Effect.Effect<Permit, any, any>,
      wrap: (self: Effects, classify: any): Effects => breaker.wrapWith(self, { classify })
    }
  }
  const of = key === "rpc" ? rpc._tag : key(rpc)
  if (of === null || of === "") return undefined
  return {
    permit: breaker.permit({ key: of }) as Effect.Effect<Permit, any, any>,
    wrap: (self: Effects, classify: any): Effects => breaker.wrap(self, { key: of, classify })
  }
}

/**
 * The client side of a middleware of yours that has `clientError` and `requiredForClient`: each method of the client then has the
 * breaker's errors in its type. A breaker that can fail with more than `clientError` does not compile.
 *
 * **Details**
 *
 * Effect's client middleware wraps the sending of a request, and is not told how the procedure ended. So this layer also takes the
 * client's `RpcClient.Protocol` and provides it anew: the middleware admits the call, and the protocol settles it by the reply.
 *
 * The policy's `timeout` bounds the wait for the reply of a procedure, or for the first element of its stream. When it is over the
 * server is told that nobody waits. A reader that gives up a stream is `Ignored`. The default key is `rpc`.
 *
 * **Gotchas**
 *
 * - Give the client the protocol that this layer provides, as `Layer.provide` with your own protocol does. A call whose request goes
 *   past it is a defect, because no outcome would ever be counted.
 * - `RpcTest` has no protocol. There, let the middleware pass:
 *   `RpcMiddleware.layerClient(Guarded, ({ next, request }) => next(request))`.
 * - A request that was not sent, because another middleware failed or its payload could not be encoded, is `Ignored`.
 * - A reply of success that the client's schema cannot decode is a Success, because the server answered.
 * - A call with `discard` is a Success when the server acknowledges it.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerClient: {
  <Id extends Ids, S, Ctx>(
    tag: Context.Key<Id, S>,
    breaker: KeyedGuard<Id[TypeId]["clientError"], Ctx>,
    options?: { readonly key?: Key | undefined }
  ): Layer.Layer<RpcMiddleware.ForClient<Id> | RpcClient.Protocol, never, Ctx | RpcClient.Protocol>
  <Id extends Ids, S, Ctx>(
    tag: Context.Key<Id, S>,
    breaker: Guard<Id[TypeId]["clientError"], Ctx>
  ): Layer.Layer<RpcMiddleware.ForClient<Id> | RpcClient.Protocol, never, Ctx | RpcClient.Protocol>
} = (
  tag: Context.Key<any, any>,
  breaker: AnyGuard,
  options: { readonly key?: Key | undefined } = {}
): Layer.Layer<any, never, any> =>
  Layer.merge(
    RpcMiddleware.layerClient(tag, ({ next, request, rpc }): Effects => {
      const guard = guardOf(breaker, options.key ?? "rpc", rpc)
      const call = { id: request.id, rpc, send: next(request) }
      return guard === undefined ? call.send : withPermit(guard.permit, (permit) => untilReply(call, permit))
    }),
    Layer.effect(RpcClient.Protocol, Effect.map(RpcClient.Protocol, observed))
  )

/**
 * The server side, to shed load: procedures run through the breaker. The middleware's `error` must have what the breaker fails with.
 *
 * The handler's exit is classified as above. The default key is `rpc`.
 *
 * **Gotchas**
 *
 * - A procedure with a stream holds its permit until the stream's end, and the policy's `timeout` does not bound it, because a
 *   middleware does not see the stream's elements.
 * - A handler that returns a `Deferred` has its outcome when it returns it.
 * - The schemas of this package's errors encode the circuit's name, and neither the last failure nor an operator's reason.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer: {
  <Id extends Ids, S, Ctx>(
    tag: Context.Key<Id, S>,
    breaker: KeyedGuard<RpcMiddleware.Error<Id>, Ctx>,
    options?: { readonly key?: Key | undefined }
  ): Layer.Layer<Id, never, Ctx>
  <Id extends Ids, S, Ctx>(tag: Context.Key<Id, S>, breaker: Guard<RpcMiddleware.Error<Id>, Ctx>): Layer.Layer<
    Id,
    never,
    Ctx
  >
} = (
  tag: Context.Key<any, any>,
  breaker: AnyGuard,
  options: { readonly key?: Key | undefined } = {}
): Layer.Layer<any, never, any> =>
  Layer.effect(
    tag,
    Effect.map(
      Effect.context<never>(),
      (context) => (handler: Effects, { rpc }: { readonly rpc: Rpc.AnyWithProps }) => {
        const guard = guardOf(breaker, options.key ?? "rpc", rpc)
        if (guard === undefined) return handler
        const guarded: Effects = RpcSchema.isStreamSchema(rpc.successSchema)
          ? withPermit(guard.permit, (permit) =>
            Effect.onExit(handler, (exit) => Effect.asVoid(settleBy(permit, classifyAnswer, exit))))
          : Effect.flatten(guard.wrap(Effect.exit(handler), classifyHandler))
        return Effect.updateContext(guarded, (own: Context.Context<any>) =>
          Context.merge(context, own))
      }
    )
  )

/** Classifies a handler whose own exit is a value, so that the errors of the guarded effect are the breaker's own. */
const classifyHandler = (exit: Exit.Exit<Exit.Exit<unknown, unknown>, unknown>): Outcome =>
  classifyAnswer(exit._tag === "Success" ? exit.value : exit)
