/**
 * The events that a breaker adds to the spans of its callers, and its log lines: a tracer and a logger that print take the place of yours.
 */
import { Console, Effect, Layer, Logger, References, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"

class Payments extends Breaker.Service<Payments>()("payments", {
  trip: Trip.consecutiveFailures(5),
  openFor: "10 seconds"
}) {}

/** Prints each event of a span when the span ends. */
class PrintedSpan extends Tracer.NativeSpan {
  override end(...args: Parameters<Tracer.NativeSpan["end"]>): void {
    super.end(...args)
    for (const [event, , { from, to }] of this.events) {
      const change = typeof from === "string" && typeof to === "string" ? `, ${from} to ${to}` : ""
      console.log(`  span ${this.name}: ${event}${change}`)
    }
  }
}

const PrintedSpans = Layer.succeed(Tracer.Tracer, Tracer.make({ span: (options) => new PrintedSpan(options) }))

const PrintedLogs = Logger.layer([
  Logger.make(({ fiber, logLevel, message }) => {
    const { circuit, reason } = fiber.getRef(References.CurrentLogAnnotations)
    console.log(`  ${logLevel}: ${String(message)} (${String(circuit)}: ${String(reason)})`)
  })
])

// A dashboard or a pager learns of an approach before calls are refused.
const Approaches = Breaker.onEvent(
  Payments,
  (event) => event._tag === "Approaching" ? Console.log(`  approaching: ${event.whyNot}`) : Effect.void
)

const checkout = (name: string, call: Effect.Effect<string, string>) =>
  Payments.wrap(call).pipe(
    Effect.withSpan(name),
    Effect.match({
      onFailure: (error) => typeof error === "string" ? error : `not tried, ${error._tag}`,
      onSuccess: (answer) => answer
    }),
    Effect.flatMap((end) => Console.log(`${name}: ${end}`))
  )

const program = Effect.gen(function*() {
  yield* checkout("first", Effect.succeed("charged"))
  for (const name of ["second", "third", "fourth", "fifth"]) yield* checkout(name, Effect.fail("declined"))
  // Events reach their listeners outside the calls.
  yield* TestClock.adjust("1 second")
  yield* checkout("sixth", Effect.fail("declined"))
  yield* checkout("seventh", Effect.succeed("charged"))
  yield* TestClock.adjust("10 seconds")
  yield* checkout("eighth", Effect.succeed("charged"))
})

await program.pipe(
  Effect.provide(Layer.provideMerge(Approaches, Payments.layer)),
  Effect.provide(Storage.MemoryStorageLive),
  Effect.provide([PrintedSpans, PrintedLogs, TestClock.layer()]),
  Effect.runPromise
)
