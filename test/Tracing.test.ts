import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Exit, Fiber, Layer, Option, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { Tracing } from "../src/observability/BreakerTracing.ts"
import { failTimes, make, makeKeyed, untilQuiet } from "./utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

/** Runs with a tracer that keeps every span. */
const traced = <A, E, R>(f: (spans: ReadonlyArray<Tracer.NativeSpan>) => Effect.Effect<A, E, R>) =>
  Effect.suspend(() => {
    const spans: Array<Tracer.NativeSpan> = []
    const tracer = Tracer.make({
      span(options) {
        const span = new Tracer.NativeSpan(options)
        spans.push(span)
        return span
      }
    })
    return Effect.provideService(f(spans), Tracer.Tracer, tracer)
  })

const withMode = (mode: "annotate" | "spans" | "off") => Effect.provideService(Tracing, mode)

const caller = Effect.withSpan("caller")

/** The span of the last call, and what was told on it. */
const told = (span: Tracer.NativeSpan | undefined) => ({
  attributes: Object.fromEntries(span!.attributes),
  events: span!.events.map(([name]) => name)
})

const unevents = { attributes: {}, events: [] }

describe("the caller's span", () => {
  it.effect("nothing is told of a call that a closed circuit admits, and that ends in time", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const breakers = [
          yield* make("straight", {}),
          yield* make("with a permit", { timeout: "1 second", maxConcurrent: 5 })
        ]
        for (const breaker of breakers) {
          yield* caller(breaker.wrap(Effect.void))
          yield* caller(failTimes(breaker, 1))
        }
        assert.deepStrictEqual(spans.map(told), [unevents, unevents, unevents, unevents])
      })
    ))

  it.effect("a rejection: who rejects, why, and for how long", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const breaker = yield* make("payments", one)
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("4 seconds")
        yield* caller(Effect.exit(breaker.wrap(Effect.void)))
        const attributes = {
          "circuit_breaker.circuit": "payments",
          "circuit_breaker.state": "open",
          "circuit_breaker.outcome": "rejected",
          "circuit_breaker.reason": "1 consecutive failures",
          "circuit_breaker.retry_after": 6
        }
        assert.deepStrictEqual(told(spans[0]), { attributes, events: ["circuit_breaker.rejected"] })
        assert.deepStrictEqual(spans[0]!.events[0]!.slice(1), [4_000_000_000n, attributes])
      })
    ))

  it.effect("a rejection by an operator, by a full bulkhead, and by a keyed breaker", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const forced = yield* make("forced", {})
        yield* forced.override({ mode: "ForcedOpen", reason: "incident 42", actor: "oncall" })
        yield* caller(Effect.exit(forced.wrap(Effect.void)))
        const full = yield* make("full", { maxConcurrent: 1 })
        yield* full.wrap(caller(Effect.exit(full.wrap(Effect.void))))
        const keyed = yield* makeKeyed("keyed", one)
        yield* Effect.exit(keyed.wrap(Effect.fail("no"), { key: "k" }))
        yield* caller(Effect.exit(keyed.wrap(Effect.void, { key: "k" })))
        assert.deepStrictEqual(
          spans.map((span) =>
            ["circuit", "state", "reason"].map((key) => span.attributes.get(`circuit_breaker.${key}`))
          ),
          [
            ["forced", "forced_open", "incident 42"],
            ["full", "closed", "1 concurrent calls are running"],
            ["keyed/k", "open", "1 consecutive failures"]
          ]
        )
      })
    ))

  it.effect("a timeout, of a call and of a stream, also where it opens the circuit", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const breaker = yield* make("late", { ...one, timeout: "1 second" })
        const call = caller(Effect.exit(breaker.wrap(Effect.never)))
        const fiber = yield* Effect.forkChild(call, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(fiber)
        assert.deepStrictEqual(told(spans[0]).events, ["circuit_breaker.timeout", "circuit_breaker.transition"])
        assert.deepInclude(told(spans[0]).attributes, {
          "circuit_breaker.outcome": "timeout",
          "circuit_breaker.reason": "timeout after 1000 ms"
        })
        const streams = yield* make("late stream", { timeout: "1 second" })
        const stream = caller(Effect.exit(Stream.runDrain(streams.wrapStream(Stream.never))))
        const running = yield* Effect.forkChild(stream, { startImmediately: true })
        yield* TestClock.adjust("1 second")
        yield* Fiber.join(running)
        assert.deepStrictEqual(told(spans[1]).events, ["circuit_breaker.timeout"])
      })
    ))

  for (const [storage, layer] of [["memory", Storage.MemoryStorageLive], ["null", Storage.NullStorageLive]] as const) {
    it.effect(`transitions and the probe, each on the span of the call that made it, on this storage: ${storage}`, () =>
      traced((spans) =>
        Effect.gen(function*() {
          const breaker = yield* Effect.provide(Breaker.make("life", one), layer)
          yield* caller(failTimes(breaker, 1))
          yield* TestClock.adjust("10 seconds")
          yield* caller(breaker.wrap(Effect.void))
          yield* untilQuiet
          const events = spans.map(({ events }) =>
            events.map(([name, , attributes]) =>
              name === "circuit_breaker.transition" ? `${attributes["from"]} > ${attributes["to"]}` : name
            )
          )
          assert.deepStrictEqual(events, [
            ["closed > open"],
            ["open > half_open", "circuit_breaker.probe", "half_open > closed"]
          ])
          assert.strictEqual(spans[1]!.attributes.get("circuit_breaker.outcome"), "probe")
        })
      ))
  }

  it.effect("a success that completes a minimum of calls is the one that opens", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const trip = Trip.failureRate({ threshold: 0.5, lastCalls: 10, minimumCalls: 2 })
        const breaker = yield* make("minimum", { trip })
        yield* failTimes(breaker, 1)
        yield* caller(breaker.wrap(Effect.void))
        assert.deepStrictEqual(told(spans[0]), { attributes: {}, events: ["circuit_breaker.transition"] })
      })
    ))

  it.effect("a permit is told where it is taken; one that is waited for is not rejected meanwhile", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const breaker = yield* make("permits", one)
        yield* failTimes(breaker, 1)
        yield* caller(Effect.exit(Effect.scoped(breaker.permit)))
        const waiting = yield* Effect.forkChild(caller(Effect.scoped(breaker.awaitPermit)), { startImmediately: true })
        yield* TestClock.adjust("30 seconds")
        yield* Fiber.join(waiting)
        assert.deepStrictEqual(spans.map((span) => told(span).events), [
          ["circuit_breaker.rejected"],
          ["circuit_breaker.transition", "circuit_breaker.probe"]
        ])
      })
    ))

  it.effect("takes no more than 128 events, nor any once it has ended or where it is not sampled", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const breaker = yield* make("worker", one)
        yield* failTimes(breaker, 1)
        const rejected = Effect.exit(breaker.wrap(Effect.void))
        yield* caller(Effect.repeat(rejected, { times: 999 }))
        assert.strictEqual(spans[0]!.events.length, 128)
        const gate = yield* Deferred.make<void>()
        const late = yield* caller(Effect.forkDetach(Effect.andThen(Deferred.await(gate), rejected)))
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(late)
        yield* Effect.withSpan(rejected, "unsampled", { sampled: false })
        assert.deepStrictEqual(spans.slice(1).map(({ events }) => events.length), [0, 0])
      })
    ))

  it.effect("off tells nothing, and is read when the breaker is made", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const breaker = yield* withMode("off")(make("off", { ...one, timeout: "1 second" }))
        yield* caller(failTimes(breaker, 2))
        yield* TestClock.adjust("10 seconds")
        yield* caller(breaker.wrap(Effect.void))
        assert.deepStrictEqual(spans.map(told), [unevents, unevents])
      })
    ))

  it.effect("without a tracer nothing fails, and a rejection is what it was", () =>
    Effect.gen(function*() {
      const breaker = yield* make("untraced", one)
      yield* failTimes(breaker, 1)
      const [first, second] = [
        yield* Effect.flip(breaker.wrap(Effect.void)),
        yield* Effect.flip(breaker.wrap(Effect.void).pipe(Effect.withSpan("caller")))
      ]
      assert.strictEqual(first, second)
    }))
})

describe("a span for each call", () => {
  class Payments extends Breaker.Service<Payments>()("payments", one) {}

  it.effect("is around the call, and has the status of an error where the call is rejected", () =>
    traced((spans) =>
      Effect.gen(function*() {
        yield* caller(Payments.wrap(Effect.withSpan(Effect.void, "inner")))
        yield* Effect.exit(Payments.wrap(Effect.fail("no")))
        yield* caller(Effect.exit(Payments.wrap(Effect.void)))
        const [outer, around, inner, failing, last, rejected] = spans
        assert.deepStrictEqual(spans.map(({ name }) => name), [
          "caller",
          "circuit_breaker payments",
          "inner",
          "circuit_breaker payments",
          "caller",
          "circuit_breaker payments"
        ])
        assert.strictEqual(Option.getOrUndefined(around!.parent), outer)
        assert.strictEqual(Option.getOrUndefined(inner!.parent), around)
        assert.deepStrictEqual(told(around), { attributes: { "circuit_breaker.circuit": "payments" }, events: [] })
        assert.deepStrictEqual(told(failing).events, ["circuit_breaker.transition"])
        // Both are told.
        for (const span of [last, rejected]) assert.deepStrictEqual(told(span).events, ["circuit_breaker.rejected"])
        const { status } = rejected!
        assert.isTrue(status._tag === "Ended" && Exit.isFailure(status.exit))
      }).pipe(
        Effect.provide(Payments.layer.pipe(Layer.provide(Layer.succeed(Tracing, "spans")))),
        Effect.provide(Storage.MemoryStorageLive)
      )
    ))

  it.effect("has the name of a keyed breaker, and the circuit of the key", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const keyed = yield* withMode("spans")(makeKeyed("hosts", {}))
        yield* keyed.wrap(Effect.void, { key: "a" })
        yield* keyed.get("b").wrap(Effect.void)
        yield* Stream.runDrain(keyed.wrapStream(Stream.empty, { key: "c" }))
        yield* Breaker.bypass(keyed.wrap(Effect.void, { key: "d" }))
        assert.deepStrictEqual(
          spans.map(({ attributes, name }) => [name, attributes.get("circuit_breaker.circuit")]),
          ["a", "b", "c"].map((key) => ["circuit_breaker hosts", `hosts/${key}`])
        )
      })
    ))

  it.effect("there is none by default", () =>
    traced((spans) =>
      Effect.gen(function*() {
        const breaker = yield* make("none", { timeout: "1 second" })
        yield* breaker.wrap(Effect.void)
        assert.deepStrictEqual(spans, [])
      })
    ))
})
