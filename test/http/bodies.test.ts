import { assert, describe, it } from "@effect/vitest"
import { Effect, Exit, Fiber, Stream } from "effect"
import { HttpClient, HttpClientResponse } from "effect/http"
import { TestClock } from "effect/testing"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Trip } from "../../src/index.ts"
import { make, untilQuiet, withReports } from "../utils.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "60 seconds" } as const

/** A body that the test writes. */
const written = () => {
  let controller: ReadableStreamDefaultController<Uint8Array>
  let cancelled = false
  const body = new ReadableStream<Uint8Array>({
    start: (given) => {
      controller = given
    },
    cancel: () => {
      cancelled = true
    }
  })
  return {
    body,
    write: (text: string) => controller.enqueue(new TextEncoder().encode(text)),
    end: () => controller.close(),
    fail: (error: Error) => controller.error(error),
    isCancelled: () => cancelled
  }
}

const endOf = (
  breaker: Breaker.Breaker<never> | Breaker.Breaker<any>,
  body: string | ReadableStream<Uint8Array> | null,
  init: ResponseInit = {}
) =>
  BreakerHttpClient.withBreaker(
    HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response(body, init)))),
    breaker,
    { bodies: "end", bodyIdleTimeout: "10 seconds" }
  ).get("https://a.test")

const countsOf = (breaker: Breaker.Breaker<any>) =>
  Effect.map(breaker.snapshot, ({ concurrent, statistics: { failure, ignored, success, timeout } }) => ({
    concurrent,
    success,
    failure,
    ignored,
    timeout
  }))

describe("an outcome at the end of the body", () => {
  for (const read of ["text", "json", "arrayBuffer", "stream"] as const) {
    it.effect(`is a success once the body has been read as ${read}`, () =>
      Effect.gen(function*() {
        const breaker = yield* make(`end-${read}`, one)
        const source = written()
        const response = yield* endOf(breaker, source.body)
        assert.strictEqual((yield* countsOf(breaker)).concurrent, 1)
        const fiber = yield* Effect.forkChild(
          read === "stream" ? Stream.runCollect(response.stream) : response[read],
          { startImmediately: true }
        )
        source.write("[1,")
        source.write("2]")
        yield* untilQuiet
        assert.strictEqual((yield* countsOf(breaker)).success, 0)
        source.end()
        const body = yield* Fiber.join(fiber)
        assert.deepStrictEqual(yield* countsOf(breaker), {
          concurrent: 0,
          success: 1,
          failure: 0,
          ignored: 0,
          timeout: 0
        })
        if (read === "json") assert.deepStrictEqual(body, [1, 2])
        if (read === "text") assert.strictEqual(body, "[1,2]")
      }))
  }

  it.effect("a body can be read twice, and counts once", () =>
    Effect.gen(function*() {
      const breaker = yield* make("twice", one)
      const response = yield* endOf(breaker, "{\"a\":1}")
      assert.deepStrictEqual(yield* response.json, { a: 1 })
      assert.strictEqual(yield* response.text, "{\"a\":1}")
      assert.strictEqual((yield* countsOf(breaker)).success, 1)
    }))

  it.effect("a body that breaks is a failure, where the head alone was a success", () =>
    Effect.gen(function*() {
      const breaker = yield* make("breaks", one)
      const source = written()
      const response = yield* endOf(breaker, source.body)
      source.write("half")
      source.fail(new Error("socket hang up"))
      const error = yield* Effect.flip(response.text)
      assert.strictEqual(error.reason._tag, "DecodeError")
      assert.strictEqual(yield* breaker.state, "Open")
    }))

  it.effect("a body that stands still fails at the idle timeout; one that its reader leaves alone does not", () =>
    Effect.gen(function*() {
      const breaker = yield* make("idle", one)
      const slow = written()
      const response = yield* endOf(breaker, slow.body)
      const reader = yield* Effect.forkChild(
        Stream.runForEach(response.stream, () => Effect.sleep("1 minute")),
        { startImmediately: true }
      )
      slow.write("a")
      yield* untilQuiet
      slow.write("b")
      yield* TestClock.adjust("1 minute")
      yield* untilQuiet
      slow.end()
      yield* TestClock.adjust("1 minute")
      yield* Fiber.join(reader)
      assert.strictEqual((yield* countsOf(breaker)).success, 1)

      const trickles = written()
      const idle = yield* endOf(breaker, trickles.body)
      const fiber = yield* Effect.forkChild(Effect.flip(idle.text), { startImmediately: true })
      trickles.write("a")
      yield* untilQuiet
      yield* TestClock.adjust("10 seconds")
      const error = yield* Fiber.join(fiber)
      assert.strictEqual(error.reason._tag, "TransportError")
      assert.include(error.message, "no bytes of the body for 10000 ms")
      assert.strictEqual(yield* breaker.state, "Open")
      assert.strictEqual((yield* countsOf(breaker)).timeout, 1)
    }))

  it.effect("a reader that gives up is ignored", () =>
    Effect.gen(function*() {
      const breaker = yield* make("gives-up", one)
      const source = written()
      const response = yield* endOf(breaker, source.body)
      const fiber = yield* Effect.forkChild(response.text, { startImmediately: true })
      yield* untilQuiet
      yield* Fiber.interrupt(fiber)
      const partly = yield* endOf(breaker, "abc")
      yield* Stream.runDrain(Stream.take(partly.stream, 1))
      const { concurrent, failure, ignored } = yield* countsOf(breaker)
      assert.deepStrictEqual({ concurrent, failure, ignored }, { concurrent: 0, failure: 0, ignored: 2 })
    }))

  it.effect("a body that nobody reads is settled by its head", () =>
    Effect.gen(function*() {
      const breaker = yield* make("unread", one)
      yield* endOf(breaker, written().body)
      yield* TestClock.adjust("9 seconds")
      assert.strictEqual((yield* countsOf(breaker)).success, 0)
      yield* TestClock.adjust("1 second")
      assert.strictEqual((yield* countsOf(breaker)).success, 1)
    }))

  it.effect("a response without a body, or with a failure for a status, is settled at once", () =>
    Effect.gen(function*() {
      const breaker = yield* make("at-once", { trip: Trip.consecutiveFailures(9) })
      yield* endOf(breaker, null, { status: 204 })
      yield* endOf(breaker, "", { headers: { "content-length": "0" } })
      yield* endOf(breaker, "sorry", { status: 500 })
      const { concurrent, failure, success } = yield* countsOf(breaker)
      assert.deepStrictEqual({ concurrent, failure, success }, { concurrent: 0, failure: 1, success: 2 })
    }))

  it.effect("an open circuit sends nothing, and the policy's timeout bounds the head", () =>
    Effect.gen(function*() {
      const breaker = yield* make("head", { ...one, timeout: "1 second" })
      const never = BreakerHttpClient.withBreaker(HttpClient.make(() => Effect.never), breaker, { bodies: "end" })
      const fiber = yield* Effect.forkChild(Effect.flip(never.get("https://a.test")), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      assert.instanceOf(yield* Fiber.join(fiber), Breaker.BreakerTimeoutError)
      assert.strictEqual((yield* countsOf(breaker)).timeout, 1)
      assert.instanceOf(yield* Effect.flip(endOf(breaker, "a")), Breaker.BreakerOpenError)
    }))

  it.effect("an interrupted request gives its permit back", () =>
    Effect.gen(function*() {
      const breaker = yield* make("interrupted", { ...one, maxConcurrent: 1 })
      const never = BreakerHttpClient.withBreaker(HttpClient.make(() => Effect.never), breaker, { bodies: "end" })
      const fiber = yield* Effect.forkChild(never.get("https://a.test"), { startImmediately: true })
      yield* untilQuiet
      yield* Fiber.interrupt(fiber)
      assert.isTrue(Exit.isSuccess(yield* Effect.exit(endOf(breaker, "a"))))
    }))

  it.effect("a classify that throws is reported, and the response is its own", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const breaker = yield* make("throws-end", one)
        const client = BreakerHttpClient.withBreaker(
          HttpClient.make((request) => Effect.succeed(HttpClientResponse.fromWeb(request, new Response("a")))),
          breaker,
          {
            bodies: "end",
            classify: () => {
              throw new Error("bug")
            }
          }
        )
        assert.strictEqual((yield* client.get("https://a.test")).status, 200)
        assert.strictEqual((yield* countsOf(breaker)).ignored, 1)
        assert.strictEqual(reports.length, 1)
        assert.include(reports[0]!.message, "classify failed")
      })
    ))

  it.effect("a body that somebody has begun to read is not taken for an empty one", () =>
    Effect.gen(function*() {
      const breaker = yield* make("begun", one)
      const unusable = /somebody has begun to read it/
      const source = written()
      const given = yield* endOf(breaker, source.body)
      const reader = yield* Effect.forkChild(given.text, { startImmediately: true })
      source.write("half of ")
      yield* Fiber.interrupt(reader)
      assert.match((yield* Effect.flip(given.text)).message, unusable)
      const streamed = yield* endOf(breaker, "whole")
      yield* Stream.runDrain(streamed.stream)
      for (const read of [streamed.text, streamed.json, streamed.arrayBuffer]) {
        assert.match((yield* Effect.flip(Effect.asVoid(read as Effect.Effect<unknown, Error>))).message, unusable)
      }
      const twice = yield* endOf(breaker, "whole")
      assert.deepStrictEqual([yield* twice.text, yield* twice.text], ["whole", "whole"])
    }))

  it.effect("a bodyIdleTimeout that makes no sense is refused at once, so no permit is kept for ever", () =>
    Effect.gen(function*() {
      const breaker = yield* make("idle", one)
      const client = HttpClient.make(() => Effect.never)
      for (const wrong of ["soon", NaN, 0, -1, Infinity]) {
        const bodyIdleTimeout = wrong as "1 second"
        assert.throws(
          () => BreakerHttpClient.withBreaker(client, breaker, { bodies: "end", bodyIdleTimeout }),
          RangeError,
          /^withBreaker: bodyIdleTimeout /
        )
        assert.throws(() => BreakerHttpClient.layer(breaker, { bodyIdleTimeout }), RangeError)
      }
    }))
})
