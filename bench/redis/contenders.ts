/**
 * Breakers on one Redis, all by the same client: ours, and Effect's own.
 *
 * What they leave in Redis expires within a minute or two.
 */
import { Effect, Layer, Scope } from "effect"
import { CircuitBreaker } from "effect/persistence"
import type * as Redis from "effect/persistence/Redis"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"

type Call = Effect.Effect<number, unknown>

export interface Circuit {
  readonly wrap: (call: Call) => Effect.Effect<number, unknown>
  readonly close: Effect.Effect<void>
}

export interface Contender {
  /** `failures` in a row open it. */
  readonly circuit: (name: string, failures: number) => Promise<Circuit>
  readonly wrapKeyed: (name: string) => Promise<(call: Call, key: string) => Effect.Effect<number, unknown>>
}

const forever = Scope.makeUnsafe()
const build = <A, E>(layer: Layer.Layer<A, E>) => Effect.runPromise(Layer.buildWithScope(layer, forever))

const IDLE = "1 minute"
const OPEN = "20 seconds"

const scoped = async <A, E>(
  make: (scope: Scope.Closeable) => Effect.Effect<A, E>
): Promise<readonly [A, Effect.Effect<void>]> => {
  const scope = Scope.makeUnsafe()
  return [await Effect.runPromise(make(scope)), Scope.close(scope, Effect.runSyncExit(Effect.void))]
}

const oursOn = async (
  layer: Layer.Layer<Storage.Storage>,
  policy: Omit<Breaker.Policy<never>, "trip"> = {}
): Promise<Contender> => {
  const storage = await build(layer)
  return {
    circuit: async (name, failures) => {
      const trip = Trip.consecutiveFailures(failures)
      const [breaker, close] = await scoped((scope) =>
        Breaker.make(name, { ...policy, trip, openFor: OPEN }).pipe(
          Effect.provideService(Scope.Scope, scope),
          Effect.provide(storage)
        )
      )
      return { wrap: breaker.wrap, close }
    },
    wrapKeyed: async (name) => {
      // A window, because that is the most that a report can carry.
      const trip = Trip.failureRate({ threshold: 0.5, within: "1 minute", minimumCalls: 20 })
      const breaker = await Effect.runPromise(
        Breaker.makeKeyed(name, { ...policy, trip, openFor: OPEN, capacity: 20_000 }).pipe(
          Effect.provideService(Scope.Scope, forever),
          Effect.provide(storage)
        )
      )
      return (call, key) => breaker.wrap(call, { key })
    }
  }
}

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

export const load = async (name: string, url: string): Promise<Contender> => {
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
