/**
 * Contenders on one Redis with the same client: this library, and Effect's own breaker. Their keys expire within two
 * minutes.
 */
import { Effect, Layer, Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import type * as Redis from "effect/persistence/Redis"
import { Storage } from "../../src/index.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { build, type Contender, forever, OPEN, oursOn, scoped } from "../fleet/contender.ts"

const IDLE = "1 minute"

const onRedis = (url: string) =>
  Layer.provide(RedisStorage.layer({ prefix: "bench:", idleTimeToLive: IDLE }), IoRedis.layer(IoRedis.fromUrl(url)))

const effectOwn = async (client: Layer.Layer<Redis.Redis, unknown>): Promise<Contender> => {
  const store = await build(
    Layer.provide(CircuitBreaker.layerStoreRedis({ prefix: "bench:effect:", idleTimeToLive: IDLE }), client)
  )
  const make = (tripPolicy: CircuitBreaker.TripPolicy) => (scope: Scope.Scope) =>
    CircuitBreaker.make({ tripPolicy, openDuration: OPEN }).pipe(
      Effect.provideService(Scope.Scope, scope),
      Effect.provide(store)
    )
  return {
    circuit: async (key, failures) => {
      const [breaker, close] = await scoped(make(CircuitBreaker.consecutive(failures)))
      return { wrap: (call) => breaker.execute(call, { key }), close }
    },
    wrapKeyed: async (name) => {
      const breaker = await Effect.runPromise(
        make(CircuitBreaker.rate({ threshold: 0.5, size: 100, minimumCalls: 20 }))(forever)
      )
      return (call, key) => breaker.execute(call, { key: `${name}/${key}` })
    }
  }
}

/** A contender on the Redis of `REDIS_URL`. */
export const load = async (name: string): Promise<Contender> => {
  const url = process.env["REDIS_URL"]!
  switch (name) {
    case "ours":
      return oursOn(onRedis(url))
    case "ours-any":
      return oursOn(onRedis(url), { evidence: "any" })
    case "ours-strict":
      return oursOn(onRedis(url), { consistency: "strict" })
    case "ours-memory":
      return oursOn(Storage.MemoryStorageLive)
    case "effect":
      return effectOwn(IoRedis.layer(IoRedis.fromUrl(url)))
    case "effect-node-redis": {
      const { NodeRedis } = await import("@effect/platform-node")
      return effectOwn(NodeRedis.layer({ url }))
    }
    default:
      throw new Error(`no contender ${name}`)
  }
}
