/** The interface of a contender whose circuits a fleet shares, and our breakers behind it. */
import { Effect, Layer, Logger, Scope } from "effect"
import { Breaker, type Storage, Trip } from "../../src/index.ts"

type Call = Effect.Effect<number, unknown>

export interface Circuit {
  readonly wrap: (call: Call) => Effect.Effect<number, unknown>
  readonly close: Effect.Effect<void>
}

export interface Contender {
  /** A circuit that opens after `failures` consecutive failures. */
  readonly circuit: (name: string, failures: number) => Promise<Circuit>
  readonly wrapKeyed: (name: string) => Promise<(call: Call, key: string) => Effect.Effect<number, unknown>>
}

export const forever = Scope.makeUnsafe()

export const build = <A, E>(layer: Layer.Layer<A, E>) => Effect.runPromise(Layer.buildWithScope(layer, forever))

export const scoped = async <A, E>(
  make: (scope: Scope.Closeable) => Effect.Effect<A, E>
): Promise<readonly [A, Effect.Effect<void>]> => {
  const scope = Scope.makeUnsafe()
  return [await Effect.runPromise(make(scope)), Scope.close(scope, Effect.runSyncExit(Effect.void))]
}

export const OPEN = "20 seconds"

export const oursOn = async <E>(
  layer: Layer.Layer<Storage.Storage, E>,
  policy: Omit<Breaker.Policy<never>, "trip"> = {}
): Promise<Contender> => {
  // Lines about openings would be among the results.
  const storage = await build(Layer.merge(layer, Logger.layer([])))
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
      // A window, because it makes the largest reports. Every interval, because few quiet ones fall in the seconds that are measured.
      const trip = Trip.failureRate({ threshold: 0.5, within: "1 minute", minimumCalls: 20 })
      const breaker = await Effect.runPromise(
        Breaker.makeKeyed(name, { reports: "every interval", ...policy, trip, openFor: OPEN, capacity: 20_000 }).pipe(
          Effect.provideService(Scope.Scope, forever),
          Effect.provide(storage)
        )
      )
      return (call, key) => breaker.wrap(call, { key })
    }
  }
}
