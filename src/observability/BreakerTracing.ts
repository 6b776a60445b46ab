/**
 * Breakers annotate the spans of the calls that they guard.
 *
 * **Example** (A rejection on the caller's span)
 *
 * ```ts import.meta.vitest
 * import { Effect, Tracer } from "effect"
 * import { Breaker, Storage, Trip } from "effect-breaker"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", { trip: Trip.consecutiveFailures(1) }) {}
 *
 * const spans: Array<Tracer.NativeSpan> = []
 * const tracer = Tracer.make({
 *   span(options) {
 *     const span = new Tracer.NativeSpan(options)
 *     spans.push(span)
 *     return span
 *   }
 * })
 *
 * const program = Effect.gen(function*() {
 *   yield* Effect.ignore(Payments.wrap(Effect.fail("declined")))
 *   yield* Effect.ignore(Payments.wrap(Effect.succeed("charged")).pipe(Effect.withSpan("checkout")))
 * }).pipe(Effect.provide(Payments.layer), Effect.provide(Storage.MemoryStorageLive))
 *
 * await Effect.runPromise(Effect.provideService(program, Tracer.Tracer, tracer))
 * spans[0]?.attributes.get("circuit_breaker.outcome") // => "rejected"
 * spans[0]?.attributes.get("circuit_breaker.reason") // => "1 consecutive failures"
 * ```
 *
 * @since 0.1.0
 */
import type * as Context from "effect/Context"
import * as internal from "../internal/Tracing.ts"

/**
 * How breakers use spans. A call that a closed circuit admits and that ends in time leaves no trace. Default `annotate`.
 *
 * - `annotate`: the span of the fiber that makes the call gets an event `circuit_breaker.rejected`, `.timeout` or `.probe`, and as
 *   attributes of both the event and the span `circuit_breaker.circuit`, `circuit_breaker.state` (`closed`, `open`, `half_open`,
 *   `forced_open`), `circuit_breaker.outcome` (`rejected`, `timeout`, `probe`), and where they are known `circuit_breaker.reason` and
 *   `circuit_breaker.retry_after` in seconds. A transition that the call itself makes is an event `circuit_breaker.transition` with
 *   `from` and `to`.
 * - `spans`: besides, a span `circuit_breaker payments` around each call and each stream, by the name of the breaker. That of a
 *   rejected call has the status of an error. Every call pays for its span.
 * - `off`: nothing.
 *
 * **Gotchas**
 *
 * A breaker reads it once, when it is made, so provide it to the layer of the breaker. What the fleet decides later, in the
 * background, is on no span: events and log lines have it. A span that has 128 events gets no more. `awaitPermit` is
 * not rejected while it waits.
 *
 * @category references
 * @since 0.1.0
 */
export const Tracing: Context.Reference<"annotate" | "spans" | "off"> = internal.Tracing
