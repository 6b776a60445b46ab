/**
 * A class for each dependency: each has its own circuit, its own policy, and only the errors that this policy makes
 * possible.
 */
import { Console, Effect, Layer, Schedule } from "effect"
import { Breaker, Storage, Trip } from "../src/index.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(3),
  openFor: Schedule.exponential("1 second"),
  timeout: "50 millis"
}) {}

class Search extends Breaker.Service<Search>()("search", {
  trip: Trip.failureRate({ threshold: 0.5, within: "30 seconds", minimumCalls: 4 }),
  openFor: "5 seconds",
  maxConcurrent: 2
}) {}

const charge: Effect.Effect<string, Breaker.BreakerOpenError | Breaker.BreakerTimeoutError, Payments> = Effect.never
  .pipe(
    Payments.wrap
  )
const search: Effect.Effect<string, Breaker.BreakerOpenError | Breaker.BulkheadFullError, Search> = Effect.succeed(
  "tea"
)
  .pipe(Effect.delay("10 millis"), Search.wrap)

const outcome = <A, E extends { readonly _tag: string }, R>(call: Effect.Effect<A, E, R>) =>
  Effect.match(call, { onSuccess: (value) => `${value}`, onFailure: (error) => error._tag })

const program = Effect.gen(function*() {
  const charges = yield* Effect.replicateEffect(outcome(charge), 4)
  yield* Console.log(`payments: ${charges.join(", ")}`)
  const searches = yield* Effect.all([outcome(search), outcome(search), outcome(search)], { concurrency: "unbounded" })
  yield* Console.log(`search: ${searches.join(", ")}`)
  for (const breaker of [yield* Payments, yield* Search]) {
    const { circuit, state, why = "never changed" } = yield* breaker.snapshot
    yield* Console.log(`${circuit} is ${state}: ${why}`)
  }
})

const breakers = Layer.mergeAll(Payments.layer, Search.layer).pipe(Layer.provide(Storage.MemoryStorageLive))

await program.pipe(Effect.provide(breakers), Effect.runPromise)
