/**
 * Cached, `consistency: { maxAge }`: a call first loads the view if it is older than that. Calls that wait share a
 * load.
 */
import { Console, Effect } from "effect"
import { TestClock } from "effect/testing"
import { Trip } from "../src/index.ts"
import { charge, decline, say, twoProcesses } from "./isolation/Processes.ts"

const policy = {
  trip: Trip.consecutiveFailures(2),
  openFor: "1 minute",
  syncEvery: "10 seconds",
  consistency: { maxAge: "500 millis" }
} as const

const program = Effect.gen(function*() {
  const [one, two] = yield* twoProcesses(policy, { pushes: false })
  yield* Effect.replicateEffect(two.breaker.wrap(charge), 1000, { discard: true })
  yield* Console.log(`two: 1000 calls, ${two.link.requests} request`)

  yield* one.breaker.wrap(decline).pipe(say("one"))
  yield* one.breaker.wrap(decline).pipe(say("one"))
  yield* TestClock.adjust("500 millis")
  yield* two.breaker.wrap(charge).pipe(say("two, on a view of 500 ms ago"))
  yield* TestClock.adjust("1 millis")
  const before = two.link.requests
  yield* Effect.replicateEffect(Effect.ignore(two.breaker.wrap(charge)), 100, {
    concurrency: "unbounded",
    discard: true
  })
  yield* Console.log(`two: 100 calls at once, ${two.link.requests - before} request`)
  yield* two.breaker.wrap(charge).pipe(say("two, on a newer view"))
})

await program.pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.runPromise)
