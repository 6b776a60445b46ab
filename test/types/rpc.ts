// @effect-diagnostics floatingEffect:off missingEffectContext:off missingEffectError:off
/** What the middleware for RPC accepts, and what its layers are. Compiled, and never run. */
import type { Layer } from "effect"
import { type RpcClient, RpcMiddleware } from "effect/rpc"
import { Breaker } from "../../src/index.ts"
import * as BreakerRpc from "../../src/rpc/RpcBreaker.ts"

class Payments extends Breaker.Service<Payments>()("payments", { timeout: "2 seconds" }) {}
class Search extends Breaker.Service<Search>()("search", { maxConcurrent: 50 }) {}
class Origins extends Breaker.KeyedService<Origins>()("http", { capacity: 1000 }) {}

class RpcClientBreaker
  extends RpcMiddleware.Service<RpcClientBreaker, { clientError: Breaker.BreakerOpenError }>()("RpcClientBreaker", {
    requiredForClient: true
  })
{}
const client: Layer.Layer<
  RpcMiddleware.ForClient<RpcClientBreaker> | RpcClient.Protocol,
  never,
  Origins | RpcClient.Protocol
> = BreakerRpc.layerClient(RpcClientBreaker, Origins, { key: ({ _tag }) => _tag })
// @ts-expect-error Payments can time out, and the client's type does not say so
BreakerRpc.layerClient(RpcClientBreaker, Payments)
// @ts-expect-error a breaker of one circuit has no keys
BreakerRpc.layerClient(RpcClientBreaker, Search, { key: "rpc" })

class RpcServerBreaker extends RpcMiddleware.Service<RpcServerBreaker>()("RpcServerBreaker", {
  error: Breaker.BreakerOpenError
}) {}
const server: Layer.Layer<RpcServerBreaker, never, Origins> = BreakerRpc.layer(RpcServerBreaker, Origins)
// @ts-expect-error a full bulkhead is not among the middleware's errors
BreakerRpc.layer(RpcServerBreaker, Search)
