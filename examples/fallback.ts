/** A fallback for the errors that a breaker adds. The call's own errors, such as `NoSuchCity`, pass through. */
import { Console, Data, Effect } from "effect"
import { Breaker, Outcome, Storage, Trip } from "../src/index.ts"

class NoSuchCity extends Data.TaggedError("NoSuchCity") {
  /** The caller's mistake: it does not count against the service. */
  readonly [Outcome.outcome] = Outcome.ignored
}

class ServiceDown extends Data.TaggedError("ServiceDown") {}

class Weather extends Breaker.Service<Weather>()("weather", {
  trip: Trip.consecutiveFailures(2),
  openFor: "1 minute"
}) {}

let serviceIsUp = true

const askService = (city: string): Effect.Effect<string, NoSuchCity | ServiceDown> => {
  if (!serviceIsUp) return Effect.fail(new ServiceDown())
  return city === "Atlantis" ? Effect.fail(new NoSuchCity()) : Effect.succeed("rain")
}

const lastKnown = new Map<string, string>()

const weatherIn = (city: string): Effect.Effect<string, NoSuchCity | ServiceDown, Weather> =>
  Effect.suspend(() => askService(city)).pipe(
    Weather.wrap,
    Effect.tap((weather) => Effect.sync(() => lastKnown.set(city, weather))),
    Effect.catchIf(
      Breaker.isRejection,
      ({ circuit }) => Effect.succeed(`${lastKnown.get(city) ?? "unknown"}, because ${circuit} is not called now`)
    )
  )

const say = (city: string) =>
  weatherIn(city).pipe(
    Effect.catch((error) => Effect.succeed(error._tag)),
    Effect.flatMap((weather) => Console.log(`${city}: ${weather}`))
  )

const program = Effect.gen(function*() {
  yield* Effect.forEach(["Oslo", "Atlantis"], say)
  serviceIsUp = false
  yield* Effect.forEach(["Oslo", "Oslo", "Oslo", "Lima"], say)
})

await program.pipe(Effect.provide(Weather.layer), Effect.provide(Storage.MemoryStorageLive), Effect.runPromise)
