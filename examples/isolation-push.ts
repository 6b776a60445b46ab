/**
 * Event-driven: on a storage that pushes changes, another process's trip is known without a call, an interval or a
 * request.
 */
import { Console, Effect, Stream } from "effect"
import { TestClock } from "effect/testing"
import { Trip } from "../src/index.ts"
import { charge, decline, say, twoProcesses } from "./isolation/Processes.ts"

const policy = { trip: Trip.consecutiveFailures(2), openFor: "1 minute", syncEvery: "1 hour" } as const

const program = Effect.gen(function*() {
  const [one, two] = yield* twoProcesses(policy, { pushes: true })
  yield* two.breaker.wrap(charge).pipe(say("two"))
  yield* two.breaker.events.pipe(
    Stream.runForEach((event) =>
      event._tag === "Transition"
        ? Console.log(`two receives: ${event.from} to ${event.to}, ${event.reason}`)
        : Effect.void
    ),
    Effect.forkScoped({ startImmediately: true })
  )
  const before = two.link.requests

  yield* one.breaker.wrap(decline).pipe(say("one"))
  yield* one.breaker.wrap(decline).pipe(say("one"))
  // On a server this takes milliseconds; here it happens as soon as other fibers run.
  yield* TestClock.adjust(0)
  yield* two.breaker.wrap(charge).pipe(say("two"))
  yield* Console.log(`two: ${two.link.requests - before} requests meanwhile`)
})

await program.pipe(Effect.scoped, Effect.provide(TestClock.layer()), Effect.runPromise)
