/**
 * Optimistic, `consistency: "local"`, the default: calls send no request, and another process's trip is known an
 * interval later.
 */
import { Console, Effect } from "effect"
import { TestClock } from "effect/testing"
import { Trip } from "../src/index.ts"
import { charge, decline, say, twoProcesses } from "./isolation/Processes.ts"

const policy = { trip: Trip.consecutiveFailures(2), openFor: "1 minute", syncEvery: "1 second" } as const

const program = Effect.gen(function*() {
  const [one, two] = yield* twoProcesses(policy, { pushes: false })
  yield* Effect.replicateEffect(two.breaker.wrap(charge), 1000, { discard: true })
  yield* Console.log(`two: 1000 calls, ${two.link.requests} request`)

  yield* one.breaker.wrap(decline).pipe(say("one"))
  yield* one.breaker.wrap(decline).pipe(say("one"))
  yield* one.breaker.wrap(charge).pipe(say("one, which tripped"))
  yield* two.breaker.wrap(charge).pipe(say("two, which does not know"))
  yield* TestClock.adjust("1 second")
  yield* two.breaker.wrap(charge).pipe(say("two, a second later"))
})

await program.pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.runPromise)
