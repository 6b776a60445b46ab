/** Pessimistic, `consistency: "strict"`: every call loads the view first, and returns once its outcome is recorded. */
import { Console, Effect, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Trip } from "../src/index.ts"
import { charge, decline, say, twoProcesses } from "./isolation/Processes.ts"

const policy = {
  trip: Trip.consecutiveFailures(2),
  openFor: "1 minute",
  consistency: "strict",
  onStorageError: "fail"
} as const

const program = Effect.gen(function*() {
  const [one, two] = yield* twoProcesses(policy, { pushes: false })
  yield* two.breaker.wrap(charge).pipe(say("two"))
  yield* Console.log(`two: 1 call, ${two.link.requests} requests`)

  two.link.isCut = true
  yield* two.breaker.wrap(charge).pipe(say("two, cut off"))
  two.link.isCut = false

  yield* one.breaker.wrap(decline).pipe(say("one"))
  yield* one.breaker.wrap(decline).pipe(say("one"))
  yield* two.breaker.wrap(charge).pipe(say("two, at once"))
})

await program.pipe(
  Effect.scoped,
  Effect.provide([TestClock.layer(), Logger.layer([])]),
  Effect.runPromise
)
