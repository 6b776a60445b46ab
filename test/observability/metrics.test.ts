import { assert, describe, it } from "@effect/vitest"
import { Config, ConfigProvider, Effect, Exit, Fiber, Layer, Metric, Random, Scope } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Storage, Trip } from "../../src/index.ts"
import * as BreakerMetrics from "../../src/observability/BreakerMetrics.ts"
import { failing, Link, memory } from "../support/storages.ts"
import { failTimes, make, makeKeyed, untilQuiet, withReports } from "../utils.ts"
import { apart, metered, nonZero, samples, scrape } from "./support.ts"

const one = { trip: Trip.consecutiveFailures(1), openFor: "10 seconds" } as const

const stateOf = (circuit: string) =>
  Effect.map(
    nonZero("circuit_breaker_state"),
    (all) =>
      Object.entries(all).flatMap(([labels, value]) =>
        labels.includes(`circuit="${circuit}"`) ? [`${/state="(\w+)"/.exec(labels)![1]} ${value}`] : []
      )
  )

const count = (series: string) => Effect.map(samples, (all) => all.get(series))

describe("the state of a circuit", () => {
  it.effect("exactly one state is 1, and an override goes before the state beneath it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", one)
      assert.deepStrictEqual(yield* stateOf("payments"), ["closed 1"])
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual(yield* stateOf("payments"), ["open 1"])
      for (
        const [mode, state] of [
          ["ForcedOpen", "forced_open"],
          ["Disabled", "disabled"],
          ["MetricsOnly", "metrics_only"]
        ] as const
      ) {
        yield* breaker.override({ mode, reason: "test", actor: "ann" })
        assert.deepStrictEqual(yield* stateOf("payments"), [`${state} 1`])
      }
      yield* breaker.clearOverride({ actor: "ann" })
      yield* breaker.forceHalfOpen
      assert.deepStrictEqual(yield* stateOf("payments"), ["half_open 1"])
      yield* breaker.reset
      assert.deepStrictEqual(yield* stateOf("payments"), ["closed 1"])
    }).pipe(metered()))

  it.effect("a breaker that enforces nothing is disabled", () =>
    Effect.gen(function*() {
      yield* make("payments", one)
      assert.deepStrictEqual(yield* stateOf("payments"), ["disabled 1"])
    }).pipe(
      metered(),
      Effect.provide(ConfigProvider.layer(ConfigProvider.fromUnknown({ CIRCUIT_BREAKER_ENABLED: "false" })))
    ))

  it.effect("the time until a call may get through is that of the state, or of a forced opening", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", one)
      const retryAfter = count(`circuit_breaker_retry_after_seconds{circuit="payments"}`)
      assert.strictEqual(yield* retryAfter, 0)
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("4 seconds")
      assert.strictEqual(yield* retryAfter, 6)
      yield* TestClock.adjust("1 minute")
      assert.strictEqual(yield* retryAfter, 0)
      yield* breaker.override({ mode: "ForcedOpen", reason: "test", actor: "ann", expiresIn: "1 hour" })
      assert.strictEqual(yield* retryAfter, 3600)
    }).pipe(metered()))

  it.effect("as a number it has the state before, and is another series with each change", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", one)
      const codes = Effect.map(samples, (all) => [...all].filter(([series]) => series.includes("state_code")))
      assert.deepStrictEqual(yield* codes, [[
        `circuit_breaker_state_code{circuit="payments",previous_state="none"}`,
        0
      ]])
      yield* failTimes(breaker, 1)
      assert.deepStrictEqual(yield* codes, [[
        `circuit_breaker_state_code{circuit="payments",previous_state="closed"}`,
        2
      ]])
      yield* TestClock.adjust("10 seconds")
      yield* breaker.wrap(Effect.void)
      assert.deepStrictEqual(yield* codes, [[
        `circuit_breaker_state_code{circuit="payments",previous_state="half_open"}`,
        0
      ]])
    }).pipe(metered({ stateCode: true })))
})

describe("what is counted", () => {
  it.effect("outcomes are disjoint, and add up to all calls that ended", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", { timeout: "1 second" })
      yield* breaker.wrap(Effect.void)
      yield* failTimes(breaker, 2)
      yield* Effect.forkChild(Effect.exit(breaker.wrap(Effect.never)), { startImmediately: true })
      yield* TestClock.adjust("1 second")
      yield* breaker.wrapWith(Effect.void, { classify: () => Outcome.ignored })
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_calls_total"), {
        [`{circuit="payments",outcome="success"}`]: 1,
        [`{circuit="payments",outcome="failure"}`]: 2,
        [`{circuit="payments",outcome="timeout"}`]: 1,
        [`{circuit="payments",outcome="ignored"}`]: 1
      })
    }).pipe(metered()))

  it.effect("rejections are counted by reason: open, half-open, a ramp, forced and the bulkhead", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", {
        ...one,
        maxConcurrent: 2,
        halfOpen: { probes: 1, ramp: "100 seconds" }
      })
      const rejected = Effect.exit(breaker.wrap(Effect.die("a rejected call ran")))
      const waiting = Effect.forkChild(breaker.wrap(Effect.sleep("1 second")), { startImmediately: true })
      yield* waiting
      yield* waiting
      yield* rejected
      yield* TestClock.adjust("1 second")
      yield* failTimes(breaker, 1)
      yield* rejected
      yield* rejected
      yield* TestClock.adjust("10 seconds")
      yield* waiting
      yield* rejected
      yield* TestClock.adjust("1 second")
      yield* untilQuiet
      assert.strictEqual(yield* breaker.state, "Closed")
      yield* rejected
      yield* breaker.override({ mode: "ForcedOpen", reason: "test", actor: "ann" })
      yield* rejected
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_rejections_total"), {
        [`{circuit="payments",reason="open"}`]: 2,
        [`{circuit="payments",reason="half_open"}`]: 2,
        [`{circuit="payments",reason="forced"}`]: 1,
        [`{circuit="payments",reason="bulkhead"}`]: 1
      })
    }).pipe(metered()))

  it.effect("what metrics-only lets through is counted by the reason for which it would be refused", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", { ...one, maxConcurrent: 1 })
      const measured = breaker.wrap(Effect.void).pipe(Effect.provideService(Breaker.Enforcement, "metricsOnly"))
      const waiting = yield* Effect.forkChild(breaker.wrap(Effect.sleep("1 second")), { startImmediately: true })
      yield* measured
      yield* TestClock.adjust("1 second")
      yield* Fiber.join(waiting)
      yield* measured
      yield* failTimes(breaker, 1)
      yield* measured
      yield* breaker.override({ mode: "ForcedOpen", reason: "test", actor: "ann" })
      yield* measured
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_rejections_unenforced_total"), {
        [`{circuit="payments",reason="open"}`]: 1,
        [`{circuit="payments",reason="forced"}`]: 1,
        [`{circuit="payments",reason="bulkhead"}`]: 1
      })
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_rejections_total"), {})
    }).pipe(metered()))

  it.effect("what a ramp would have refused is counted as unenforced", () =>
    Random.withSeed(
      Effect.gen(function*() {
        const breaker = yield* make("payments", { ...one, halfOpen: { ramp: "10 seconds" } })
        yield* failTimes(breaker, 1)
        yield* TestClock.adjust("10 seconds")
        yield* breaker.wrap(Effect.void)
        const measured = breaker.wrap(Effect.void).pipe(Effect.provideService(Breaker.Enforcement, "metricsOnly"))
        for (let i = 0; i < 1000; i++) yield* measured
        // A ramp begins with a tenth of the calls, and refuses as a half-open circuit does.
        const unenforced = yield* nonZero("circuit_breaker_rejections_unenforced_total")
        assert.approximately(unenforced[`{circuit="payments",reason="half_open"}`]!, 900, 30)
        assert.deepStrictEqual(yield* nonZero("circuit_breaker_rejections_total"), {})
      }),
      "unenforced"
    ).pipe(metered()))

  it.effect("what would have been shed is counted as unenforced, by the policy's metrics-only and by the reference's", () =>
    Random.withSeed(
      Effect.gen(function*() {
        const policy = { trip: Trip.consecutiveFailures(1_000_000), throttle: { max: 1 } } as const
        const measured = yield* make("measured", { ...policy, enforcement: "metricsOnly" })
        const enforced = yield* make("enforced", policy)
        const calls = [
          failTimes(measured, 1000),
          failTimes(enforced, 1000).pipe(Effect.provideService(Breaker.Enforcement, "metricsOnly"))
        ]
        for (const all of calls) yield* all
        const unenforced = yield* nonZero("circuit_breaker_rejections_unenforced_total")
        assert.sameMembers(Object.keys(unenforced), [
          `{circuit="measured",reason="throttled"}`,
          `{circuit="enforced",reason="throttled"}`
        ])
        // After n failures the share is n / (n + 1), from the twentieth on. So about four calls would have run.
        for (const count of Object.values(unenforced)) assert.approximately(count, 976, 10)
        assert.deepStrictEqual(yield* nonZero("circuit_breaker_rejections_total"), {})
      }),
      "unenforced"
    ).pipe(metered()))

  it.effect("a trip under metrics-only is a transition from closed to closed", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", { ...one, enforcement: "metricsOnly" })
      yield* failTimes(breaker, 2)
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_transitions_total"), {
        [`{circuit="payments",from="closed",to="closed"}`]: 2
      })
    }).pipe(metered()))

  it.effect("transitions say from where to where, and whose evidence opened the circuit", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", one)
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("10 seconds")
      yield* failTimes(breaker, 1)
      yield* TestClock.adjust("1 minute")
      yield* breaker.wrap(Effect.void)
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_transitions_total"), {
        [`{circuit="payments",from="closed",to="open",opened_by="instance"}`]: 1,
        [`{circuit="payments",from="open",to="half_open"}`]: 2,
        [`{circuit="payments",from="half_open",to="open",opened_by="instance"}`]: 1,
        [`{circuit="payments",from="half_open",to="closed"}`]: 1
      })
    }).pipe(metered()))

  it.effect("what is read is what the circuit is now, though series of one circuit are read in one pass", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", { trip: Trip.consecutiveFailures(100) })
      const context = yield* Effect.context<never>()
      for (let calls = 1; calls <= 3; calls++) {
        yield* failTimes(breaker, 1)
        const states = Metric.snapshotUnsafe(context)
        const value = (id: string) => (states.find((series) => series.id === id)!.state as { value: number }).value
        assert.strictEqual(value("circuit_breaker.consecutive_failures"), calls)
      }
      const registry = yield* Metric.MetricRegistry
      const streak = [...registry.values()].find(({ id }) => id === "circuit_breaker.consecutive_failures")!
      for (let calls = 4; calls <= 6; calls++) {
        yield* failTimes(breaker, 1)
        assert.deepStrictEqual(streak.hooks.get(context), { value: calls })
      }
    }).pipe(metered()))
})

describe("calls that are timed", () => {
  it.effect("with durations, calls of all outcomes are timed, also of a breaker that was made before", () =>
    Effect.gen(function*() {
      const early = yield* make("early", {})
      yield* Effect.gen(function*() {
        const breaker = yield* make("payments", { timeout: "5 seconds" })
        for (
          const call of [
            early.wrap(Effect.sleep("2 seconds")),
            breaker.wrap(Effect.sleep("1 second")),
            breaker.wrap(Effect.andThen(Effect.sleep("30 millis"), Effect.fail("no"))),
            breaker.wrap(Effect.never)
          ]
        ) yield* Effect.forkChild(Effect.exit(call), { startImmediately: true })
        yield* TestClock.adjust("30 millis")
        yield* TestClock.adjust("5 seconds")
        yield* untilQuiet
        const sum = (circuit: string, outcome: string) =>
          count(`circuit_breaker_call_duration_seconds_sum{circuit="${circuit}",outcome="${outcome}"}`)
        assert.strictEqual(yield* sum("early", "success"), 2)
        assert.strictEqual(yield* sum("payments", "success"), 1)
        assert.strictEqual(yield* sum("payments", "failure"), 0.03)
        assert.strictEqual(yield* sum("payments", "timeout"), 5)
        assert.strictEqual(yield* sum("payments", "ignored"), 0)
        const bucket = (le: string) =>
          count(`circuit_breaker_call_duration_seconds_bucket{circuit="payments",outcome="failure",le="${le}"}`)
        assert.deepStrictEqual([yield* bucket("0.02"), yield* bucket("0.05")], [0, 1])
      }).pipe(
        Effect.provide(BreakerMetrics.layer({ durations: { boundaries: ["20 millis", "50 millis", "1 second"] } }))
      )
      assert.strictEqual(yield* scrape, "")
      yield* early.wrap(Effect.void)
      assert.strictEqual(yield* scrape, "")
    }).pipe(apart))

  it.effect("without durations no call is timed, and nothing is measured of errors", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", {})
      yield* failTimes(breaker, 1)
      const text = yield* scrape
      assert.notInclude(text, "duration")
      assert.notInclude(text, "circuit_breaker_failures_total")
    }).pipe(metered()))
})

describe("failures by type", () => {
  class Declined {
    readonly _tag = "Declined"
  }
  class Plain extends Error {}
  const throwing = new Proxy({}, {
    get: () => {
      throw new Error("hostile")
    }
  })

  it.effect("a failure's type is its error's _tag or else its class, and after 20 types _OTHER", () =>
    Effect.gen(function*() {
      const breaker = yield* make("payments", { trip: Trip.consecutiveFailures(1000) })
      const hostile = [{ _tag: "" }, { _tag: "x".repeat(101) }, throwing, Object.create(null)]
      for (const error of [new Declined(), new Declined(), new Plain(), "text", ...hostile]) {
        yield* failTimes(breaker, 1, error)
      }
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_failures_total"), {
        [`{circuit="payments",error_type="Declined"}`]: 2,
        [`{circuit="payments",error_type="Plain"}`]: 1,
        [`{circuit="payments",error_type="String"}`]: 1,
        [`{circuit="payments",error_type="_OTHER"}`]: 4
      })
      for (let i = 0; i < 100; i++) yield* failTimes(breaker, 1, { _tag: `Error${i}` })
      const all = yield* nonZero("circuit_breaker_failures_total")
      assert.strictEqual(Object.keys(all).length, 20)
      assert.strictEqual(all[`{circuit="payments",error_type="_OTHER"}`], 88)
    }).pipe(metered({ errors: true })))
})

describe("several instances, and their ends", () => {
  it.effect("two instances of a circuit are one series: counts add up, and the worst state counts", () =>
    Effect.gen(function*() {
      const [first, second] = [yield* make("payments", one), yield* make("payments", one)]
      yield* first.wrap(Effect.void)
      yield* second.wrap(Effect.void)
      yield* failTimes(second, 1)
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_calls_total"), {
        [`{circuit="payments",outcome="success"}`]: 2,
        [`{circuit="payments",outcome="failure"}`]: 1
      })
      assert.strictEqual(yield* first.state, "Closed")
      assert.deepStrictEqual(yield* stateOf("payments"), ["open 1"])
      const all = (yield* scrape).split("\n").filter((line) => !line.startsWith("#"))
      assert.strictEqual(new Set(all.map((line) => line.split(" ")[0])).size, all.length)
    }).pipe(metered()))

  it.effect("a counter does not shrink when one of two instances ends, and is gone with the last", () =>
    Effect.gen(function*() {
      const scopes = [yield* Scope.make(), yield* Scope.make()]
      for (const scope of scopes) {
        const breaker = yield* Scope.provide(make("payments", one), scope)
        yield* breaker.wrap(Effect.void)
      }
      const success = count(`circuit_breaker_calls_total{circuit="payments",outcome="success"}`)
      assert.strictEqual(yield* success, 2)
      yield* Scope.close(scopes[0]!, Exit.void)
      assert.strictEqual(yield* success, 2)
      yield* Scope.close(scopes[1]!, Exit.void)
      assert.strictEqual(yield* scrape, "")
    }).pipe(metered({ durations: true, errors: true, stateCode: true })))

  it.effect("a breaker that was made before the layer is exported, and the layer takes all series along", () =>
    Effect.gen(function*() {
      const scope = yield* Scope.make()
      yield* make("payments", one)
      yield* makeKeyed("hosts", one)
      const options = { durations: true, errors: true, stateCode: true, keyed: { top: 3 } }
      yield* Layer.buildWithScope(BreakerMetrics.layer(options), scope)
      assert.include(yield* scrape, `circuit="payments"`)
      yield* Scope.close(scope, Exit.void)
      yield* make("late", one)
      assert.strictEqual(yield* scrape, "")
    }).pipe(apart))

  it.effect("a breaker that is reconfigured has the series of its new policy, and its counts go on", () =>
    Effect.gen(function*() {
      const windowed = (within: `${number} seconds`) => Trip.failureRate({ threshold: 0.5, within })
      const breaker = yield* make("payments", {
        trip: windowed("60 seconds"),
        maxConcurrent: Breaker.unset<number>()
      })
      yield* failTimes(breaker, 1)
      const ratio = (window: string) => count(`circuit_breaker_failure_ratio{circuit="payments",window="${window}"}`)
      assert.deepStrictEqual([yield* ratio("60s"), yield* ratio("30s")], [1, undefined])
      yield* breaker.reconfigure({ trip: windowed("30 seconds"), maxConcurrent: 4 })
      assert.deepStrictEqual([yield* ratio("60s"), yield* ratio("30s")], [undefined, 0])
      assert.strictEqual(yield* count(`circuit_breaker_concurrent_limit{circuit="payments"}`), 4)
      assert.strictEqual(yield* count(`circuit_breaker_calls_total{circuit="payments",outcome="failure"}`), 1)
    }).pipe(metered()))

  it.effect("include chooses breakers by name, and one that throws harms no breaker", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        yield* make("payments", one)
        yield* make("internal", one)
        yield* make("broken", one)
        yield* untilQuiet
        const text = yield* scrape
        assert.include(text, "payments")
        assert.notInclude(text, "internal")
        assert.include(text, "broken")
        assert.deepStrictEqual(reports.map(({ message }) => message), [
          "include of BreakerMetrics failed; the breaker is exported"
        ])
      }).pipe(metered({
        include: (name) => {
          if (name === "broken") throw new Error("no")
          return name !== "internal"
        }
      }))
    ))

  it.effect("a second layer on one registry of metrics is logged", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        yield* Layer.build(BreakerMetrics.layer({ errors: true }))
        assert.match(reports[0]!.message, /^Two layers export the metrics of breakers/)
      }).pipe(metered(), Effect.scoped)
    ))
})

describe("keyed breakers", () => {
  it.effect("are exported as one, and count how many circuits are in each state", () =>
    Effect.gen(function*() {
      const hosts = yield* makeKeyed("hosts", one)
      for (const key of ["a", "b", "c"]) yield* hosts.wrap(Effect.void, { key })
      yield* Effect.exit(hosts.wrap(Effect.fail("no"), { key: "c" }))
      assert.deepStrictEqual(yield* stateOf("hosts"), ["closed 2", "open 1"])
      assert.deepStrictEqual(yield* nonZero("circuit_breaker_circuits"), { [`{breaker="hosts"}`]: 3 })
      assert.notInclude(yield* scrape, "hosts/")
    }).pipe(metered()))

  it.effect("have no series with none", () =>
    Effect.gen(function*() {
      yield* makeKeyed("hosts", one)
      assert.strictEqual(yield* scrape, "")
    }).pipe(metered({ keyed: "none" })))

  it.effect("a counter does not shrink when keys are evicted", () =>
    Effect.gen(function*() {
      const hosts = yield* makeKeyed("hosts", { ...one, capacity: 2 })
      for (let i = 0; i < 10; i++) yield* hosts.wrap(Effect.void, { key: `key${i}` })
      yield* untilQuiet
      assert.strictEqual(yield* hosts.size, 2)
      assert.strictEqual(yield* count(`circuit_breaker_calls_total{circuit="hosts",outcome="success"}`), 10)
    }).pipe(metered()))

  it.effect("the top keys have series of their own: those that are not closed, then those with the most failures", () =>
    Effect.gen(function*() {
      const hosts = yield* makeKeyed("hosts", { trip: Trip.consecutiveFailures(10) })
      const fail = (key: string, times: number) =>
        Effect.repeat(Effect.exit(hosts.wrap(Effect.fail("no"), { key })), { times: times - 1 })
      const shown = Effect.map(samples, (all) => [
        ...new Set([...all.keys()].flatMap((series) => /circuit="hosts\/(\w+)"/.exec(series)?.[1] ?? []))
      ])
      yield* hosts.wrap(Effect.void, { key: "good" })
      yield* fail("some", 2)
      yield* fail("more", 3)
      yield* fail("few", 1)
      assert.deepStrictEqual(yield* shown, [])
      yield* TestClock.adjust("10 seconds")
      assert.sameMembers(yield* shown, ["some", "more"])
      assert.strictEqual(yield* count(`circuit_breaker_consecutive_failures{circuit="hosts/more"}`), 3)
      yield* fail("open", 10)
      yield* hosts.wrap(Effect.void, { key: "more" })
      yield* TestClock.adjust("10 seconds")
      assert.sameMembers(yield* shown, ["some", "open"])
      assert.deepStrictEqual(yield* stateOf("hosts/open"), ["open 1"])
      yield* hosts.wrap(Effect.void, { key: "forced" })
      yield* hosts.get("forced").override({ mode: "ForcedOpen", reason: "test", actor: "ann" })
      yield* TestClock.adjust("10 seconds")
      assert.sameMembers(yield* shown, ["forced", "open"])
    }).pipe(metered({ keyed: { top: 2 } })))

  it.effect("a key that comes back among the top counts from where its series ended", () =>
    Effect.gen(function*() {
      const hosts = yield* makeKeyed("hosts", { trip: Trip.consecutiveFailures(10) })
      const failures = count(`circuit_breaker_calls_total{circuit="hosts/a",outcome="failure"}`)
      const fail = Effect.exit(hosts.wrap(Effect.fail("no"), { key: "a" }))
      yield* fail
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* failures, 1)
      yield* hosts.wrap(Effect.void, { key: "a" })
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* failures, undefined)
      yield* fail
      yield* fail
      yield* TestClock.adjust("10 seconds")
      assert.strictEqual(yield* failures, 2)
    }).pipe(metered({ keyed: { top: 2 } })))

  it.effect("a key that is evicted takes its series along at once", () =>
    Effect.gen(function*() {
      const hosts = yield* makeKeyed("hosts", { trip: Trip.consecutiveFailures(10), capacity: 1 })
      yield* Effect.exit(hosts.wrap(Effect.fail("no"), { key: "a" }))
      yield* TestClock.adjust("10 seconds")
      assert.include(yield* scrape, `circuit="hosts/a"`)
      yield* hosts.wrap(Effect.void, { key: "b" })
      assert.notInclude(yield* scrape, `circuit="hosts/a"`)
    }).pipe(metered({ keyed: { top: 2 } })))

  it.effect("100,000 keys make no more series than a few, whatever fails", () =>
    Effect.gen(function*() {
      const hosts = yield* makeKeyed("hosts", { trip: Trip.consecutiveFailures(2), capacity: 100_000 })
      yield* hosts.wrap(Effect.void, { key: "first" })
      const before = (yield* samples).size
      for (let i = 0; i < 100_000; i++) {
        const call = i % 2 === 0 ? Effect.void : Effect.fail({ _tag: `Error${i}` })
        yield* Effect.exit(hosts.wrap(call, { key: `key${i}` }))
      }
      yield* TestClock.adjust("10 seconds")
      const all = yield* samples
      assert.isAtLeast(all.get(`circuit_breaker_circuits{breaker="hosts"}`)!, 99_999)
      // Five circuits more than the breaker's own, and 20 types of errors and one for the rest.
      const each = [...all.keys()].filter((series) => series.includes(`circuit="hosts/`)).length / 5
      assert.isTrue(Number.isInteger(each))
      assert.isAtMost(each, 40)
      assert.strictEqual(all.size, before + 5 * each + 21)
    }).pipe(metered({ keyed: { top: 5 }, errors: true })), 120_000)
})

describe("the fleet", () => {
  it.effect("the storage is reachable until it does not answer, and then instances decide alone", () =>
    Effect.gen(function*() {
      const link = new Link({ ...(yield* memory), backend: "far" })
      const breaker = yield* link.make("payments", one)
      yield* breaker.wrap(Effect.void)
      const reachable = count(`circuit_breaker_fleet_reachable{backend="far"}`)
      assert.strictEqual(yield* reachable, 1)
      link.fault(failing("Unavailable"))
      for (let i = 0; i < 5; i++) {
        yield* breaker.wrap(Effect.void)
        yield* TestClock.adjust("1 second")
        yield* untilQuiet
      }
      assert.strictEqual(yield* reachable, 0)
      assert.strictEqual(yield* count(`circuit_breaker_reports_waiting{circuit="payments"}`), 6)
      link.fault(undefined)
      yield* TestClock.adjust("10 seconds")
      yield* untilQuiet
      assert.strictEqual(yield* reachable, 1)
      assert.strictEqual(yield* count(`circuit_breaker_reports_waiting{circuit="payments"}`), 0)
    }).pipe(metered()))

  it.effect("a storage that cannot decide between instances has no metrics of a fleet", () =>
    Effect.gen(function*() {
      yield* Breaker.make("payments", one).pipe(Effect.provide(Storage.NullStorageLive))
      const text = yield* scrape
      assert.include(text, "circuit_breaker_state")
      assert.notMatch(text, /fleet|reports|drift/)
    }).pipe(metered()))
})

describe("hostile names", () => {
  it.effect("names with quotes, backslashes and line ends stay within their label", () =>
    Effect.gen(function*() {
      const names = [
        `a"} 1\n# TYPE evil counter\nevil 7\n`,
        `\\`,
        `\\"`,
        `\\n`,
        "a,b=\"c\"",
        "{}",
        "日本 😀",
        "__proto__",
        " "
      ]
      for (const name of names) yield* make(name, one)
      const text = yield* scrape
      for (const line of text.trimEnd().split("\n")) {
        assert.match(line, /^(# (HELP|TYPE) \w+ .*|\w+(\{(\w+="([^"\\\n]|\\["\\n])*",?)+\})? [-+\w.]+)$/)
      }
      const circuits = new Set(
        [...text.matchAll(/^circuit_breaker_concurrent\{circuit="((?:[^"\\]|\\.)*)"\}/gm)].map(([, label]) =>
          label!.replaceAll(/\\(.)/g, (_, letter) => letter === "n" ? "\n" : letter)
        )
      )
      assert.deepStrictEqual([...circuits].sort(), [...names].sort())
    }).pipe(metered()))
})

describe("the options", () => {
  it("a RangeError names each option that is out of range, its value and the range", () => {
    const message = (options: object) => {
      try {
        BreakerMetrics.layer(options)
        return "accepted"
      } catch (error) {
        assert.instanceOf(error, RangeError)
        return (error as Error).message
      }
    }
    assert.include(message({ keyed: { top: 0 } }), "keyed.top must be a whole number from 1 to 1000, got 0")
    assert.include(message({ keyed: "all" }), `keyed must be sum, none or { top: n }, got "all"`)
    assert.include(message({ keyd: "sum" }), "did you mean keyed?")
    assert.include(message({ durations: "yes" }), `durations must be true or false, got "yes"`)
    assert.include(message({ durations: { boundaries: [] } }), "durations.boundaries must be 1 to 100 durations")
    assert.include(message({ durations: { boundaries: ["2 seconds", "1 second"] } }), "in ascending order")
    assert.include(
      message({ durations: { boundaries: [Infinity] } }),
      "durations.boundaries[0] must be a finite duration"
    )
    assert.include(message({ errors: 1 }), "errors must be true or false, got 1")
    assert.include(message({ include: "payments" }), "include must be a function")
    for (const name of ["circuit", "error.type", "error_type", "le", "unit", "__name__", "a-b", ""]) {
      assert.include(message({ attributes: { [name]: "x" } }), "under a name of letters", name)
    }
    assert.include(message({ attributes: { "a.b": "x", "a_b": "y" } }), `attributes["a_b"] must be under a name`)
    assert.include(message({ attributes: { a: "x\ny" } }), `attributes["a"] must be a text of 1 to 1000 characters`)
    assert.include(message({ attributes: ["x"] }), "attributes must be an object of texts")
    assert.strictEqual(message({ attributes: { "service.name": "shop" } }), "accepted")
  })

  const fromConfig = BreakerMetrics.layerConfig({
    durations: Config.withDefault(Config.Boolean("DURATIONS"), false),
    errors: Config.withDefault(Config.Boolean("ERRORS"), false),
    attributes: Config.map(Config.String("TEAM"), (team) => ({ team }))
  })

  it.effect("options come from config, and one out of range is a ConfigError", () =>
    Effect.gen(function*() {
      const provide = (values: object) =>
        Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromUnknown(values))
      const text = yield* make("payments", one).pipe(
        Effect.andThen(scrape),
        Effect.provide(fromConfig),
        provide({ TEAM: "shop", DURATIONS: "true" })
      )
      assert.include(
        text,
        `circuit_breaker_call_duration_seconds_count{circuit="payments",team="shop",outcome="success"} 0`
      )
      const error = yield* Effect.flip(Effect.scoped(Layer.build(fromConfig))).pipe(provide({ TEAM: "a\nb" }))
      assert.strictEqual(error._tag, "ConfigError")
      assert.include(error.message, `attributes["team"]`)
    }).pipe(apart))
})
