import { assert, describe, it } from "@effect/vitest"
import { Context, Duration, Effect, Logger, type LogLevel, Option, References, Schedule, Stream, Tracer } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"
import { StorageError } from "../src/Storage/Storage.ts"
import * as Logs from "./support/logs.ts"
import { failing, Link, memory } from "./support/storages.ts"
import { changesOfState, failTimes, rejectionOf, untilQuiet } from "./utils.ts"

const policy = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds", evidence: "any" } as const

const withLogs = <A, E, R>(
  level: LogLevel.LogLevel,
  f: (lines: ReadonlyArray<Logs.Line>) => Effect.Effect<A, E, R>
): Effect.Effect<A, E, R> => Logs.withLogs(level, f, changesOfState)

const rounds = (count: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: count - 1 })

describe("a log line", () => {
  it.effect("Debug: persistence enabled, circuit restored, circuit persisted", () =>
    withLogs("Debug", (lines) =>
      Effect.gen(function*() {
        const of = yield* memory
        const breaker = yield* new Link(of).make("kept", policy)
        assert.deepStrictEqual(lines, [])
        yield* breaker.wrap(Effect.void)
        assert.deepStrictEqual(lines, [{ level: "Debug", text: "Persistence enabled", fields: { backend: "memory" } }])
        yield* failTimes(breaker, 1)
        yield* rounds(2)
        const another = yield* new Link(of).make("kept", policy)
        yield* another.wrap(Effect.void)
        assert.deepStrictEqual(lines.slice(2), [{
          level: "Debug",
          text: "Circuit restored",
          fields: { circuit: "kept", state: "Closed", failure_count: 1 }
        }])
        yield* failTimes(breaker, 1)
        yield* untilQuiet
        assert.deepStrictEqual(lines.slice(3), [{
          level: "Debug",
          text: "Circuit persisted",
          fields: { circuit: "kept", state: "Open" }
        }])
        yield* TestClock.adjust("10 seconds")
        yield* breaker.wrap(Effect.void)
        assert.deepStrictEqual(lines.slice(4), [{
          level: "Debug",
          text: "Circuit persisted",
          fields: { circuit: "kept", state: "Closed" }
        }])
      })))

  it.effect("an outage is logged as Error and Warn once, and as Info when it is over", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        const breaker = yield* link.make("down", policy)
        for (let outage = 0; outage < 2; outage++) {
          link.fault(failing("Unavailable"))
          yield* failTimes(breaker, 1)
          yield* rounds(5)
          yield* breaker.wrap(Effect.void)
          yield* rounds(5)
          link.fault(undefined)
          yield* rounds(5)
        }
        const brief = lines.map(({ fields, level, text }) => {
          if ("cause" in fields) assert.instanceOf(fields.cause, StorageError)
          return [level, text, fields.circuit ?? fields.backend]
        })
        assert.deepStrictEqual(brief, [
          ["Error", "Failed to load a circuit", "down"],
          ["Warn", "The storage is unreachable, continuing in memory", "memory"],
          ["Info", "The storage has recovered", "memory"],
          ["Error", "Failed to persist a circuit", "down"],
          ["Warn", "The storage is unreachable, continuing in memory", "memory"],
          ["Info", "The storage has recovered", "memory"]
        ])
      })))

  it.effect("a circuit that cannot be decoded is logged as Error once, while others go on", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        const sick = yield* link.make("sick", policy)
        link.fault(failing("Invalid"), "sync")
        for (let i = 0; i < 5; i++) {
          yield* sick.wrap(Effect.void)
          yield* rounds(1)
        }
        assert.deepStrictEqual(lines.map(({ level, text }) => [level, text]), [["Error", "Failed to decode a circuit"]])
        link.fault(undefined)
        yield* rounds(2)
        link.fault(failing("Invalid"), "sync")
        yield* sick.wrap(Effect.void)
        yield* rounds(2)
        assert.strictEqual(lines.length, 2)
      })))

  it.effect("a refused subscription is logged as Warn, once until it succeeds", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const reasons = ["Unavailable", "Denied", "Denied", undefined, "Denied", "Deadline"] as const
        let attempts = 0
        const changes = Stream.suspend((): Storage.Storage["changes"] => {
          const reason = reasons[attempts++]
          return reason === undefined
            ? Stream.succeed({ _tag: "Subscribed" })
            : Stream.fail(new StorageError({ operation: "changes", reason, cause: reason }))
        })
        const of = { ...yield* memory, changes }
        const breaker = yield* Breaker.make("deaf", policy).pipe(Effect.provideService(Storage.Storage, of))
        yield* breaker.wrap(Effect.void)
        yield* rounds(20)
        assert.isAbove(attempts, reasons.length)
        const { text } = messages.subscribeRefused
        assert.deepStrictEqual(lines.map(({ level, text }) => [level, text]), [["Warn", text], ["Warn", text]])
      })))

  it.effect("a subscription that keeps failing while the storage answers is logged as Warn, once (S6, S16)", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        let isListening = false
        const changes = Stream.suspend((): Storage.Storage["changes"] =>
          isListening
            ? Stream.concat(Stream.succeed({ _tag: "Subscribed" as const }), Stream.never)
            : Stream.fail(new StorageError({ operation: "changes", reason: "Unavailable", cause: "refused (08P01)" }))
        )
        const of = yield* memory
        const storage = { ...of, capabilities: { ...of.capabilities, pushes: true }, changes }
        const breaker = yield* Breaker.make("deaf", policy).pipe(Effect.provideService(Storage.Storage, storage))
        const seen = () =>
          Effect.map(breaker.snapshot, ({ fleet }) => {
            const { active, for: duration } = fleet!.subscription!
            return [active, Math.round(Duration.toSeconds(duration))]
          })
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("29 seconds")
        assert.deepStrictEqual([lines.length, yield* seen()], [0, [false, 29]])
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(lines.map(({ level, text }) => [level, text]), [[
          "Warn",
          messages.subscribeFailing.text
        ]])
        assert.deepStrictEqual(yield* seen(), [false, 629])
        isListening = true
        yield* TestClock.adjust("1 minute")
        assert.strictEqual((yield* seen())[0], true)
        assert.strictEqual(lines.length, 1)
      })))

  it.effect("a subscription that fails while the storage is away has no line of its own (S16)", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const of = yield* memory
        const changes = Stream.fail(new StorageError({ operation: "changes", reason: "Unavailable", cause: "away" }))
        const link = new Link({ ...of, capabilities: { ...of.capabilities, pushes: true }, changes })
        const breaker = yield* link.make("away", policy)
        link.fault(failing("Unavailable"))
        yield* breaker.wrap(Effect.void)
        for (let i = 0; i < 60; i++) {
          yield* breaker.wrap(Effect.void)
          yield* rounds(1)
        }
        assert.notInclude(lines.map(({ text }) => text), messages.subscribeFailing.text)
        assert.include(lines.map(({ text }) => text), messages.storageUnreachable.text)
      })))

  it.effect("instances with different policies are logged as Warn, once per instance", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const of = yield* memory
        const a = yield* new Link(of).make("policies", policy)
        const b = yield* new Link(of).make("policies", { ...policy, openFor: "20 seconds" })
        yield* b.wrap(Effect.void)
        yield* failTimes(a, 2)
        yield* untilQuiet
        yield* rejectionOf(b)
        yield* a.reset
        yield* failTimes(a, 2)
        yield* TestClock.adjust("59 seconds")
        assert.deepStrictEqual(lines, [])
        yield* TestClock.adjust("10 minutes")
        assert.deepStrictEqual(lines.map(({ fields, level, text }) => [level, text, fields.circuit]), [
          ["Warn", messages.policiesDiffer.text, "policies"]
        ])
      })))

  it.effect("a line that a storage logs in a request goes to the loggers of the breakers on it", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        link.fault((request) => Effect.andThen(Effect.logWarning("a damaged file"), request), "sync")
        const breaker = yield* link.make("talkative", policy)
        yield* breaker.wrap(Effect.void)
        yield* untilQuiet
        assert.deepStrictEqual(lines.map(({ level, text }) => [level, text]), [["Warn", "a damaged file"]])
      })))

  it.effect("a line about the storage is logged once if any breaker with the same loggers asks for its level", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        for (const levels of [["Info", "None", "Warn"], ["None", "Info"]] as const) {
          const link = new Link(yield* memory)
          const breakers = []
          for (const level of levels) {
            const made = link.make(`at ${level}`, policy)
            breakers.push(yield* Effect.provideService(made, References.MinimumLogLevel, level))
          }
          link.fault(failing("Unavailable"))
          for (const breaker of breakers) yield* breaker.wrap(Effect.void)
          yield* untilQuiet
          const { text } = messages.storageUnreachable
          assert.strictEqual(lines.filter((line) => line.text === text).length, 1)
          link.fault(undefined)
          yield* rounds(3)
          assert.strictEqual(lines.filter(({ text }) => text === messages.storageRecovered.text).length, 1)
          ;(lines as Array<Logs.Line>).length = 0
        }
      })))

  it.effect("a failure that no caller waits for is not logged under the span in which the breaker was made", () =>
    Effect.gen(function*() {
      const spans: Array<boolean> = []
      const logger = Logger.make<unknown, void>(({ fiber }) => {
        spans.push(Option.isSome(Context.getOption(fiber.context, Tracer.ParentSpan)))
      })
      const openFor = Schedule.fromStep<unknown, number, never, never, never, never>(Effect.die("no schedule"))
      const bad = { trip: Trip.consecutiveFailures(1), openFor }
      const breaker = yield* Breaker.make("in a span", bad).pipe(
        Effect.withSpan("making"),
        Effect.provide(Storage.MemoryStorageLive),
        Effect.provide(Logger.layer([logger])),
        Effect.provideService(References.UnhandledLogLevel, "Warn")
      )
      yield* failTimes(breaker, 1)
      yield* untilQuiet
      // The failure of the schedule, and the opening.
      assert.deepStrictEqual(spans, [false, false])
    }))

  it.effect("Trace logs every decision", () =>
    withLogs("Trace", (lines) =>
      Effect.gen(function*() {
        const breaker = yield* new Link(yield* memory).make("traced", policy)
        yield* breaker.wrap(Effect.void)
        yield* failTimes(breaker, 2)
        yield* rejectionOf(breaker)
        yield* TestClock.adjust("10 seconds")
        yield* breaker.wrap(Effect.void)
        const traced = lines.filter(({ level }) => level === "Trace").map(
          ({ fields: { circuit, ...fields }, text }) => {
            assert.strictEqual(circuit, "traced")
            return [text, ...Object.values(fields)].join(" ").replace(/ \d+$/, " N")
          }
        )
        assert.deepStrictEqual(traced, [
          "Call admitted false",
          "Call ended Success false false false",
          "Call admitted false",
          "Call ended Failure false false false",
          "Call admitted false",
          "Call ended Failure false false false",
          `${messages.tripped.text} 2 consecutive failures`,
          `${messages.adopted.text} Open N`,
          "Call rejected Open",
          `${messages.adopted.text} HalfOpen N`,
          "A lease was granted",
          "Call admitted true",
          "Call ended Success false false false",
          `${messages.adopted.text} Closed N`
        ])
      })))

  it.effect("a line goes to the loggers of the breaker that it is about, and a line about the storage to all of them once", () =>
    Effect.gen(function*() {
      const of = new Link(yield* memory)
      const make = (name: string) =>
        withLogs("Info", (lines) => Effect.map(of.make(name, policy), (breaker) => ({ breaker, lines })))
      const [first, second] = [yield* make("first"), yield* make("second")]
      of.fault(failing("Invalid"), "sync")
      yield* first.breaker.wrap(Effect.void)
      yield* rounds(2)
      yield* second.breaker.wrap(Effect.void)
      of.fault(failing("Unavailable"))
      yield* failTimes(second.breaker, 1)
      yield* rounds(5)
      const [ofFirst, ofSecond] = [first, second].map(({ lines }) =>
        lines.map(({ fields, text }) => [text, fields["circuit"] ?? fields["backend"]])
      )
      const unreachable = [messages.storageUnreachable.text, "memory"]
      assert.deepStrictEqual(ofFirst!.filter(([text]) => text === unreachable[0]), [unreachable])
      assert.deepStrictEqual(ofSecond!.filter(([text]) => text === unreachable[0]), [unreachable])
      assert.deepStrictEqual(new Set(ofFirst!.map(([, about]) => about)), new Set(["first", "memory"]))
      assert.deepStrictEqual(new Set(ofSecond!.map(([, about]) => about)), new Set(["second", "memory"]))
    }))

  it.effect("a breaker made inside a span logs nothing under it once it has ended", () =>
    withLogs("Debug", (lines) =>
      Effect.gen(function*() {
        const link = new Link(yield* memory)
        const spans: Array<Tracer.AnySpan | undefined> = []
        const of = link.storage
        const watched: Storage.Storage = {
          ...of,
          sync: (reports) =>
            Effect.flatMap(Effect.serviceOption(Tracer.ParentSpan), (span) => {
              spans.push(Option.getOrUndefined(span))
              return of.sync(reports)
            })
        }
        const breaker = yield* Breaker.make("in-a-span", policy).pipe(
          Effect.provideService(Storage.Storage, watched),
          Effect.withSpan("startup")
        )
        yield* failTimes(breaker, 1)
        yield* rounds(2)
        assert.isAbove(lines.length, 0)
        assert.isAbove(spans.length, 0)
        assert.deepStrictEqual(spans.filter((span) => span !== undefined), [])
      })))
})
