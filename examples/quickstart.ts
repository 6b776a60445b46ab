/** One circuit. In a project of your own, import from "effect-breaker". */
import { Console, Effect } from "effect"
import { Breaker, Storage, Trip } from "../src/index.ts"

const charge = (cents: number) =>
  cents > 1000 ? Effect.fail("the payment service answers 500") : Effect.succeed(`charged ${cents} cents`)

const program = Effect.forEach([500, 2000, 3000, 4000], (cents) =>
  charge(cents).pipe(
    Breaker.wrap,
    Effect.catch((error) => Effect.succeed(Breaker.isRejection(error) ? `not tried: ${error.message}` : error)),
    Effect.flatMap(Console.log)
  ), { discard: true })

await program.pipe(
  Effect.provide(Breaker.layer("payments", { trip: Trip.consecutiveFailures(2), openFor: "30 seconds" })),
  Effect.provide(Storage.MemoryStorageLive),
  Effect.runPromise
)
