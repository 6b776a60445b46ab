import { assert, describe, it } from "@effect/vitest"
import { Deferred, Effect, Fiber, Logger } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Storage, Trip } from "../src/index.ts"
import { messages } from "../src/internal/Messages.ts"
import { type Line, withLogs } from "./support/logs.ts"
import { Link, memory } from "./support/storages.ts"
import { failTimes, make, makeKeyed, untilQuiet } from "./utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const

/** Level, text and reason of each line. */
const inBrief = (lines: ReadonlyArray<Line>) => lines.map(({ fields, level, text }) => [level, text, fields.reason])

const rounds = (count: number) =>
  Effect.repeat(Effect.andThen(TestClock.adjust("1 second"), untilQuiet), { times: count - 1 })

const onNothing = Effect.provide(Storage.NullStorageLive)

describe("a change of state", () => {
  it.effect("each change is a line at the default level: Warn for an opening, Info for what ends it", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const breaker = yield* make("life", two)
        yield* failTimes(breaker, 2)
        yield* TestClock.adjust("10 seconds")
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("10 seconds")
        yield* breaker.wrap(Effect.void)
        assert.deepStrictEqual(inBrief(lines), [
          ["Warn", "The circuit has opened", "2 consecutive failures"],
          ["Warn", "The circuit is half-open and takes probes", "the open time is over"],
          ["Warn", "The circuit has opened", "a probe failed"],
          ["Warn", "The circuit is half-open and takes probes", "the open time is over"],
          ["Warn", "The circuit has closed", "1 of 1 probes succeeded"]
        ])
        for (const { fields } of lines) {
          assert.strictEqual(fields.circuit, "life")
          assert.strictEqual(fields.instance, lines[0]!.fields.instance)
        }
      })))

  it.effect("an opening names circuit, reason, instance, the counts that caused it, and for how long", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const trip = Trip.failureRate({ threshold: 0.5, within: "1 minute", minimumCalls: 4 })
        const breaker = yield* onNothing(Breaker.make("counts", { trip, openFor: "10 seconds" }))
        yield* Effect.repeat(breaker.wrap(Effect.void), { times: 1 })
        yield* failTimes(breaker, 2)
        const { instance, ...fields } = lines[0]!.fields
        assert.match(String(instance), /^\S{8,}$/)
        assert.deepStrictEqual(fields, {
          circuit: "counts",
          from: "Closed",
          reason: "failure rate 0.50 of 4 calls within 60 s",
          openedBy: "instance",
          evidence: { by: "instance", streak: 2, totals: [{ success: 2, failure: 2, slow: 0 }] },
          openForMillis: 10_000
        })
      })))

  it.effect("each instance of a fleet logs it when it learns of it, with the evidence of the fleet", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const of = yield* memory
        const pooled = { ...two, trip: Trip.failures({ count: 3, within: "1 minute" }) }
        const [a, b] = [yield* new Link(of).make("fleet", pooled), yield* new Link(of).make("fleet", pooled)]
        yield* b.wrap(Effect.void)
        yield* failTimes(a, 3)
        yield* rounds(5)
        assert.strictEqual((yield* b.snapshot).state, "Open")
        const opened = lines.filter(({ text }) => text === messages.opened.text)
        assert.strictEqual(new Set(opened.map(({ fields }) => fields.instance)).size, 2)
        const [, ofB] = opened
        assert.deepInclude(ofB!.fields, { circuit: "fleet", openedBy: "fleet" })
        const evidence = ofB!.fields.evidence as { readonly by: string; readonly totals: ReadonlyArray<object> }
        assert.deepStrictEqual([evidence.by, evidence.totals.length], ["fleet", 1])
        assert.deepInclude(evidence.totals[0], { success: 1, failure: 3 })
      })))

  it.effect("the evidence under any is the instance that tripped", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const of = yield* memory
        const any = { ...two, evidence: "any" } as const
        const [a, b] = [yield* new Link(of).make("any", any), yield* new Link(of).make("any", any)]
        yield* b.wrap(Effect.void)
        yield* failTimes(a, 2)
        yield* untilQuiet
        const [own, adopted] = lines.filter(({ text }) => text === messages.opened.text)
        assert.deepStrictEqual(adopted!.fields.evidence, { by: "instance", instance: own!.fields.instance })
      })))

  it.effect("a logger that calls the breaker meets the new state", () =>
    Effect.gen(function*() {
      const seen: Array<string> = []
      let state = Effect.succeed("")
      const logger = Logger.make<unknown, void>(() => {
        seen.push(Effect.runSync(state))
      })
      const breaker = yield* Effect.provide(make("met", two), Logger.layer([logger]))
      state = breaker.state
      yield* failTimes(breaker, 2)
      assert.deepStrictEqual(seen, ["Open"])
    }))

  it.effect("a breaker whose minimum level is higher logs nothing", () =>
    withLogs("Error", (lines) =>
      Effect.gen(function*() {
        yield* failTimes(yield* make("quiet", two), 2)
        assert.deepStrictEqual(lines, [])
      })))

  it.effect("a dependency that is down does not fill the log with a line for each key", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const keyed = yield* makeKeyed("hosts", { trip: Trip.consecutiveFailures(1), openFor: "1 hour" })
        const fail = (from: number, to: number) =>
          Effect.forEach(
            Array.from({ length: to - from }, (_, i) => `${from + i}`),
            (key) => Effect.exit(keyed.wrap(Effect.fail("down"), { key })),
            { discard: true }
          )
        yield* fail(0, 1000)
        const opened = lines.filter(({ text }) => text === messages.opened.text)
        assert.deepStrictEqual([opened.length, lines.length], [100, 101])
        assert.deepStrictEqual(lines[100], {
          level: "Warn",
          text: messages.changesOmitted.text,
          fields: { breaker: "hosts", lines: 100, periodMillis: 10_000 }
        })
        yield* TestClock.adjust("10 seconds")
        yield* fail(1000, 1001)
        assert.deepInclude(lines[101]!.fields, { circuit: "hosts/1000" })
      })))
})

describe("a circuit that is only measured", () => {
  it.effect("is logged once a minute", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const breaker = yield* make("shadow", { ...two, enforcement: "metricsOnly" })
        yield* failTimes(breaker, 10)
        yield* TestClock.adjust("59 seconds")
        yield* failTimes(breaker, 10)
        yield* TestClock.adjust("1 second")
        yield* failTimes(breaker, 10)
        const line = ["Warn", messages.wouldHaveOpened.text, "2 consecutive failures (metrics only)"]
        assert.deepStrictEqual(inBrief(lines), [line, line])
        assert.deepStrictEqual(lines[0]!.fields.evidence, { by: "instance", streak: 2, totals: [] })
      })))
})

describe("an override", () => {
  it.effect("is logged when it is set, cleared or has expired, with who and why", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        const breaker = yield* make("override", two)
        const set = { mode: "ForcedOpen", reason: "incident 42", actor: "oncall" } as const
        yield* breaker.override(set)
        yield* breaker.clearOverride({ actor: "second" })
        yield* breaker.override({ ...set, mode: "Disabled", expiresIn: "1 minute" })
        yield* TestClock.adjust("1 minute")
        yield* breaker.wrap(Effect.void)
        const brief = lines.map((
          { fields: { actor, change, mode }, level, text }
        ) => [level, text, mode, actor, change])
        assert.deepStrictEqual(brief, [
          ["Warn", "An operator has set an override", "ForcedOpen", "oncall", undefined],
          ["Info", "An override has ended", "ForcedOpen", "second", "cleared"],
          ["Warn", "An operator has set an override", "Disabled", "oncall", undefined],
          ["Info", "An override has ended", "Disabled", "oncall", "expired"]
        ])
        for (const { fields } of lines) assert.deepInclude(fields, { circuit: "override", reason: "incident 42" })
      })))
})

describe("the debug mode", () => {
  it.effect("Debug logs an approach, with nobody listening to events", () =>
    withLogs("Debug", (lines) =>
      Effect.gen(function*() {
        const breaker = yield* onNothing(Breaker.make("near", { trip: Trip.consecutiveFailures(5) }))
        yield* failTimes(breaker, 4)
        assert.deepStrictEqual(lines, [{
          level: "Debug",
          text: messages.approaching.text,
          fields: { circuit: "near", share: 0.8, whyNot: "4 of 5 consecutive failures" }
        }])
      })))

  it.effect("Trace logs a late outcome as late, and a full bulkhead as a rejection", () =>
    withLogs("Trace", (lines) =>
      Effect.gen(function*() {
        const breaker = yield* onNothing(Breaker.make("traced", { ...two, maxConcurrent: 1 }))
        const gate = yield* Deferred.make<void>()
        const late = yield* Effect.forkChild(breaker.wrap(Deferred.await(gate)), { startImmediately: true })
        yield* Effect.exit(breaker.wrap(Effect.void))
        yield* breaker.reset
        yield* breaker.forceHalfOpen
        yield* Deferred.succeed(gate, undefined)
        yield* Fiber.join(late)
        const traced = lines.filter(({ level }) => level === "Trace").map((
          { fields: { circuit: _, ...rest }, text }
        ) => [
          text,
          rest
        ])
        assert.deepStrictEqual(traced, [
          ["Call admitted", { probe: false }],
          ["Call rejected", { refusal: "Full" }],
          ["Call ended", { outcome: "Success", slow: false, timeout: false, late: true }]
        ])
      })))
})

describe("what a policy asks for and does not get", () => {
  it.effect("is one Warn, when the breaker is made", () =>
    withLogs("Info", (lines) =>
      Effect.gen(function*() {
        yield* make("fine", { ...two, consistency: "strict", onStorageError: "fail", timeout: "2 seconds" })
        assert.deepStrictEqual(lines, [])
        yield* make("fail", { ...two, onStorageError: "fail" })
        const trip = Trip.slowCallRate({ threshold: 0.5, slowerThan: "3 seconds", within: "1 minute" })
        yield* make("slow", { trip, timeout: "2 seconds" })
        yield* make("as slow", { trip, timeout: "3 seconds" })
        yield* make("quiet", { ...two, reports: "quiet" })
        yield* make("strict", { ...two, consistency: "strict", reports: "quiet" })
        yield* onNothing(Breaker.make("silent", { reports: "quiet" }))
        yield* onNothing(Breaker.make("null", { consistency: "strict", onStorageError: "fail", evidence: "pooled" }))
        assert.deepStrictEqual(
          lines.map(({ fields, level, text }) => [level, text, fields.circuit, fields.field ?? fields.fields]),
          [
            ["Warn", "A field of the policy has no effect", "fail", "onStorageError"],
            ["Warn", "A field of the policy has no effect", "slow", "trip.slowerThan"],
            ["Warn", "A field of the policy has no effect", "strict", "reports"],
            ["Warn", "A field of the policy has no effect", "silent", "reports"],
            ["Warn", messages.notFenced.text, "null", "consistency, onStorageError, evidence"]
          ]
        )
      })))
})
