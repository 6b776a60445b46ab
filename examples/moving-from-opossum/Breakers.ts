/** The breakers that the shop will have, and how a handler that returns a promise calls through one. */
import { Data, Duration, Effect, Layer, ManagedRuntime } from "effect"
import { Breaker, Storage, Trip } from "../../src/index.ts"
import type { Guarded, Rejected } from "./Shop.ts"

const policy = { trip: Trip.consecutiveFailures(3), openFor: "30 seconds" } as const

export class Prices extends Breaker.Service<Prices>()("prices", policy) {}
export class Stock extends Breaker.Service<Stock>()("stock", policy) {}

// On Redis, all instances of the shop share what they know: `RedisStorageLive` in place of `MemoryStorageLive`.
export const runtime = ManagedRuntime.make(
  Layer.mergeAll(Prices.layer, Stock.layer).pipe(Layer.provide(Storage.MemoryStorageLive))
)

class UpstreamError extends Data.TaggedError("UpstreamError")<{ readonly cause: unknown }> {}

export const guarded = <E>(guard: Breaker.Guard<E, Prices | Stock>): Guarded => (call) =>
  runtime.runPromise(
    Effect.tryPromise({ try: (signal) => call(signal), catch: (cause) => new UpstreamError({ cause }) }).pipe(
      guard.wrapWith({})
    )
  )

export const rejected = (error: unknown): Rejected | undefined => {
  if (!(error instanceof Breaker.BreakerOpenError)) return undefined
  const { retryAfter } = error
  return { retryAfter: retryAfter && Math.max(1, Math.ceil(Duration.toSeconds(retryAfter))) }
}
