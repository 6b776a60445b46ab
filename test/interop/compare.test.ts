/** Compare mode: what the decider does, what its shadow learns, and what is said where they disagree. */
import { assert, describe, it } from "@effect/vitest"
import { ConfigProvider, Context, Duration, Effect, Exit, Fiber, Logger, Metric, References } from "effect"
import { CircuitBreaker } from "effect/persistence"
import { TestClock } from "effect/testing"
import * as BreakerHttpClient from "../../src/http/HttpClient.ts"
import { Breaker, Outcome, Trip } from "../../src/index.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import * as Compare from "../../src/interop/Compare.ts"
import * as EffectCircuitBreaker from "../../src/interop/EffectCircuitBreaker.ts"
import { clientOf } from "../http/support.ts"
import { processes, slow } from "../support/storages.ts"
import { make, untilQuiet, withReports } from "../utils.ts"

const two = { trip: Trip.consecutiveFailures(2), openFor: "10 seconds" } as const
const ran = Effect.succeed("ran")
const boom = Effect.fail("boom")

/** An old breaker in two steps that notes what it is told. */
const oldOne = (mayRun: () => boolean = () => true) => {
  const told: Array<string> = []
  const guard = Adapter.twoStep("old", {
    before: () => {
      told.push("before")
      return mayRun()
    },
    success: () => void told.push("success"),
    failure: () => void told.push("failure"),
    ignored: () => void told.push("ignored")
  })
  return { guard, told }
}

/** Compares, and keeps the mismatches. */
const comparing = <E1, C1, E2, C2>(
  sides: { readonly old: Breaker.Guard<E1, C1>; readonly new: Breaker.Guard<E2, C2> },
  options: Compare.CompareOptions = {}
) => {
  const mismatches: Array<Compare.Mismatch> = []
  const guard = Compare.compare(sides, {
    decides: "old",
    onMismatch: (mismatch) => Effect.sync(() => mismatches.push(mismatch)),
    ...options
  })
  return { guard, mismatches }
}

describe("compare", () => {
  it.effect("the old one decides, and the new one learns and rejects nothing", () =>
    Effect.gen(function*() {
      const old = oldOne()
      const breaker = yield* make("shadow", two)
      const { guard, mismatches } = comparing({ old: old.guard, new: breaker })
      assert.strictEqual(guard.circuit, "shadow")
      for (const _ of [1, 2, 3]) assert.strictEqual(yield* Effect.flip(guard.wrapWith(boom, {})), "boom")
      assert.strictEqual(yield* guard.wrapWith(ran, {}), "ran")
      assert.deepStrictEqual(old.told, [
        "before",
        "failure",
        "before",
        "failure",
        "before",
        "failure",
        "before",
        "success"
      ])
      // It was open from the second failure on, and does not know of what it would have rejected.
      const snapshot = yield* breaker.snapshot
      assert.strictEqual(snapshot.state, "Open")
      assert.deepInclude(snapshot.statistics, { failure: 2, success: 0, rejected: 2 })
      assert.deepStrictEqual(mismatches.map(({ _tag, decides, old, new: now }) => [_tag, decides, old, now]), [
        ["Decided", "old", "run", "rejected"],
        ["Decided", "old", "run", "rejected"]
      ])
      assert.include(mismatches[0]!.reasons.new, "2 consecutive failures")
      assert.isUndefined(mismatches[0]!.reasons.old)
      assert.deepStrictEqual(yield* Compare.agreement(guard), { calls: 4, decided: 2, outcome: 0 })
    }))

  it.effect("the shadow's probe is a call that ran, and closes it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-probe", two)
      const { guard } = comparing({ old: oldOne().guard, new: breaker })
      yield* Effect.ignore(guard.wrapWith(boom, {}))
      yield* Effect.ignore(guard.wrapWith(boom, {}))
      yield* TestClock.adjust("10 seconds")
      const probe = yield* Effect.forkChild(guard.wrapWith(Effect.sleep("2 seconds"), {}), { startImmediately: true })
      assert.strictEqual(yield* breaker.state, "HalfOpen")
      // A second call at the same time is one that it would have rejected.
      yield* guard.wrapWith(ran, {})
      assert.strictEqual((yield* Compare.agreement(guard)).decided, 1)
      yield* TestClock.adjust("2 seconds")
      yield* Fiber.join(probe)
      assert.strictEqual(yield* breaker.state, "Closed")
    }))

  it.effect("where the old one rejects, the leave of the new one is given back as ignored", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-ignored", { ...two, maxConcurrent: 1 })
      const { guard, mismatches } = comparing({ old: oldOne(() => false).guard, new: breaker })
      for (const _ of [1, 2]) {
        assert.instanceOf(yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {})), Adapter.ForeignOpenError)
      }
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 0, failure: 0, ignored: 2, rejected: 0 })
      assert.deepInclude(mismatches[0], { old: "rejected", new: "run" })
      assert.deepInclude(mismatches[0]!.reasons, { old: "Circuit \"old\" refused the call", new: undefined })
    }))

  it.effect("the flag is read for each call, also while one runs", () =>
    Effect.gen(function*() {
      let decides: Compare.Side = "old"
      const old = oldOne()
      const breaker = yield* make("shadow-flag", two)
      const { guard } = comparing({ old: old.guard, new: breaker }, { decides: Effect.sync(() => decides) })
      yield* Effect.ignore(guard.wrapWith(boom, {}))
      yield* Effect.ignore(guard.wrapWith(boom, {}))
      yield* guard.wrapWith(ran, {})
      decides = "new"
      const rejection = yield* Effect.flip(guard.wrapWith(Effect.die("ran"), {}))
      assert.instanceOf(rejection, Breaker.BreakerOpenError)
      // The old one would have run it, and was given back its leave.
      assert.deepStrictEqual(old.told.slice(-2), ["before", "ignored"])
      yield* TestClock.adjust("10 seconds")
      yield* guard.wrapWith(ran, {})
      assert.deepStrictEqual(old.told.slice(-2), ["before", "success"])
      decides = "old"
      yield* guard.wrapWith(ran, {})
      assert.deepStrictEqual(yield* Compare.agreement(guard), { calls: 6, decided: 2, outcome: 0 })
    }))

  it.effect("without comparison only the one that decides is asked", () =>
    Effect.gen(function*() {
      let compare = false
      const old = oldOne()
      const breaker = yield* make("shadow-off", two)
      const { guard } = comparing({ old: old.guard, new: breaker }, { compare: Effect.sync(() => compare) })
      yield* guard.wrapWith(ran, {})
      yield* Effect.scoped(guard.permit)
      assert.deepStrictEqual(old.told, ["before", "success", "before", "ignored"])
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 0)
      compare = true
      yield* guard.wrapWith(ran, {})
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
      assert.strictEqual((yield* Compare.agreement(guard)).calls, 1)
    }))

  it.effect("the classify of a call is run once, and holds for both", () =>
    Effect.gen(function*() {
      let classified = 0
      const old = oldOne()
      const breaker = yield* make("shadow-classify", two)
      const { guard, mismatches } = comparing({ old: old.guard, new: breaker })
      yield* guard.wrapWith(ran, {
        classify: () => {
          classified++
          return Outcome.failure()
        }
      })
      assert.strictEqual(classified, 1)
      assert.deepStrictEqual(old.told, ["before", "failure"])
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 1)
      assert.deepStrictEqual(mismatches, [])
    }))

  it.effect("a policy's classify is run once, and a different judgement is a mismatch", () =>
    Effect.gen(function*() {
      class Classifier extends Context.Service<Classifier, { count: number }>()("Classifier") {}
      const counts = { count: 0 }
      const breaker = yield* make("shadow-policy", {
        ...two,
        trip: Trip.consecutiveFailures(9),
        classify: (exit) =>
          Classifier.use((classifier) =>
            Effect.sync(() => {
              classifier.count++
              return Exit.isSuccess(exit) ? Outcome.failure() : Outcome.ignored
            })
          )
      }).pipe(Effect.provideService(Classifier, counts))
      for (const decides of ["old", "new"] as const) {
        counts.count = 0
        const { guard, mismatches } = comparing({ old: oldOne().guard, new: breaker }, { decides })
        yield* guard.wrapWith(ran, {})
        yield* Effect.ignore(guard.wrapWith(boom, {}))
        assert.strictEqual(counts.count, 2)
        assert.deepStrictEqual(mismatches.map(({ _tag, old, new: now }) => [_tag, old, now]), [
          ["Outcome", "Success", "Failure"],
          ["Outcome", "Failure", "Ignored"]
        ])
      }
    }))

  it.effect("a call that the shadow's timeout would have ended has failed for it, and goes on", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-timeout", { ...two, timeout: "1 second", maxConcurrent: 1 })
      const { guard, mismatches } = comparing({ old: oldOne().guard, new: breaker })
      const call = yield* Effect.forkChild(guard.wrapWith(Effect.as(Effect.sleep("3 seconds"), "late"), {}), {
        startImmediately: true
      })
      yield* TestClock.adjust("1 second")
      assert.deepInclude((yield* breaker.snapshot).statistics, { failure: 1, timeout: 1 })
      // Its place is free.
      yield* Effect.ignore(guard.wrapWith(boom, {}))
      assert.strictEqual(yield* breaker.state, "Open")
      yield* TestClock.adjust("2 seconds")
      assert.strictEqual(yield* Fiber.join(call), "late")
      assert.deepInclude((yield* breaker.snapshot).statistics, { success: 0, failure: 2, timeout: 1, rejected: 0 })
      assert.deepStrictEqual(mismatches.map(({ _tag, old, new: now }) => [_tag, old, now]), [
        ["Outcome", "Success", "Failure"]
      ])
      assert.include(mismatches[0]!.reasons.new, "timed out after 1000 ms")
    }))

  it.effect("a call that only the decider's timeout ended is ignored by the shadow", () =>
    Effect.gen(function*() {
      const decider = yield* make("decider", { ...two, timeout: "1 second" })
      const breaker = yield* make("shadow-longer", { ...two, timeout: "2 seconds" })
      const same = yield* make("shadow-same", { ...two, timeout: "1 second" })
      for (const shadow of [breaker, same]) {
        const { guard, mismatches } = comparing({ old: decider, new: shadow })
        const call = yield* Effect.forkChild(Effect.flip(guard.wrapWith(Effect.never, {})), { startImmediately: true })
        yield* TestClock.adjust("1 second")
        assert.instanceOf(yield* Fiber.join(call), Breaker.BreakerTimeoutError)
        assert.deepStrictEqual(mismatches, [])
      }
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 1, failure: 0 })
      assert.deepInclude((yield* same.snapshot).statistics, { ignored: 0, failure: 1, timeout: 1 })
    }))

  it.effect("an interrupted call is ignored by both", () =>
    Effect.gen(function*() {
      const old = oldOne()
      const breaker = yield* make("shadow-interrupted", { ...two, timeout: "5 seconds" })
      const { guard, mismatches } = comparing({ old: old.guard, new: breaker })
      const call = yield* Effect.forkChild(guard.wrapWith(Effect.never, {}), { startImmediately: true })
      yield* Fiber.interrupt(call)
      yield* TestClock.adjust("5 seconds")
      assert.deepStrictEqual(old.told, ["before", "ignored"])
      assert.deepInclude((yield* breaker.snapshot).statistics, { ignored: 1, timeout: 0 })
      assert.deepStrictEqual(mismatches, [])
    }))

  it.effect("gives permits of the decider, which settle both", () =>
    Effect.gen(function*() {
      const old = oldOne()
      const breaker = yield* make("shadow-permit", two)
      const { guard, mismatches } = comparing({ old: old.guard, new: breaker })
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* guard.permit
        assert.deepInclude(permit, { circuit: "old", probe: false, remaining: undefined, timeout: undefined })
        assert.isTrue(yield* permit.settleExit(Exit.fail("boom")))
        assert.isFalse(yield* permit.settle(Outcome.success))
      }))
      yield* Effect.scoped(guard.permit)
      yield* Effect.scoped(Effect.flatMap(guard.permit, ({ settle }) => settle(Outcome.failure())))
      assert.deepStrictEqual(old.told, ["before", "failure", "before", "ignored", "before", "failure"])
      assert.deepInclude((yield* breaker.snapshot).statistics, { failure: 2, ignored: 1, success: 0 })
      yield* Effect.scoped(guard.permit)
      assert.deepStrictEqual(mismatches.map(({ new: now }) => now), ["rejected"])
      const strict = comparing({ old: oldOne(() => false).guard, new: breaker }).guard
      assert.instanceOf(yield* Effect.flip(Effect.scoped(strict.permit)), Adapter.ForeignOpenError)
    }))

  it.effect("a decider's permit has its timeout, and its end by that is ignored by a shadow without one", () =>
    Effect.gen(function*() {
      const decider = yield* make("decider-permit", { ...two, timeout: "1 second" })
      const breaker = yield* make("shadow-permit-timeout", two)
      const { guard } = comparing({ old: decider, new: breaker })
      yield* Effect.scoped(Effect.gen(function*() {
        const permit = yield* guard.permit
        assert.deepStrictEqual(permit.timeout, Duration.seconds(1))
        const error = new Breaker.BreakerTimeoutError({ circuit: permit.circuit, timeout: permit.timeout! })
        yield* permit.settleExit(Exit.fail(error))
      }))
      assert.strictEqual((yield* decider.snapshot).statistics.timeout, 1)
      assert.deepInclude((yield* breaker.snapshot).statistics, { failure: 0, ignored: 1 })
    }))

  it.effect("a shadow that breaks is reported, and never the call's", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const broken: Breaker.Guard<Breaker.BreakerOpenError, never> = {
          ...(yield* make("broken", two)),
          permit: Effect.die("broken")
        }
        const { guard } = comparing({ old: oldOne().guard, new: broken })
        assert.strictEqual(yield* guard.wrapWith(ran, {}), "ran")
        assert.deepStrictEqual(yield* Compare.agreement(guard), { calls: 0, decided: 0, outcome: 0 })
        assert.include(reports[0]!.message, "A breaker that does not decide failed")
      })
    ))

  it.effect("a decider that breaks before the call has said nothing", () =>
    Effect.gen(function*() {
      const breaker = yield* make("beside-broken", two)
      const broken = { ...breaker, wrapWith: () => Effect.die("broken") } as unknown as typeof breaker
      const { guard, mismatches } = comparing({ old: broken, new: breaker })
      assert.isTrue(Exit.hasDies(yield* Effect.exit(guard.wrapWith(ran, {}))))
      assert.deepStrictEqual(mismatches, [])
      assert.deepStrictEqual(yield* Compare.agreement(guard), { calls: 0, decided: 0, outcome: 0 })
    }))

  it.effect("a shadow that waits neither delays the call nor misses how it ended", () =>
    Effect.gen(function*() {
      const breaker = yield* make("slow", two)
      const slow = { ...breaker, permit: Effect.andThen(Effect.sleep("5 seconds"), breaker.permit) }
      const { guard } = comparing({ old: oldOne().guard, new: slow })
      assert.strictEqual(yield* Effect.flip(guard.wrapWith(boom, {})), "boom")
      assert.strictEqual((yield* Compare.agreement(guard)).calls, 0)
      yield* TestClock.adjust("5 seconds")
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 1)
      assert.strictEqual((yield* Compare.agreement(guard)).calls, 1)
    }))

  it.effect("takes no leave of a foreign breaker that could not give it back", () =>
    Effect.gen(function*() {
      let fired = 0
      let mayI: boolean | undefined = undefined
      const old = Adapter.execute("foreign", {
        execute: (call) => {
          fired++
          return call()
        },
        isRejection: () => false,
        mayI: () => mayI
      })
      const breaker = yield* make("decides", two)
      yield* breaker.override({ mode: "ForcedOpen", reason: "incident", actor: "oncall" })
      const { guard, mismatches } = comparing({ old, new: breaker }, { decides: "new" })
      yield* Effect.flip(guard.wrapWith(ran, {}))
      assert.strictEqual((yield* Compare.agreement(guard)).calls, 0)
      mayI = true
      yield* Effect.flip(guard.wrapWith(ran, {}))
      mayI = false
      yield* Effect.flip(guard.wrapWith(ran, {}))
      assert.deepStrictEqual(mismatches.map(({ old }) => old), ["run"])
      assert.deepStrictEqual(yield* Compare.agreement(guard), { calls: 2, decided: 1, outcome: 0 })
      assert.strictEqual(fired, 0)
    }))

  it.effect("shadows on one storage are a fleet, whose probe is a call that ran, and wait beside the calls", () =>
    Effect.gen(function*() {
      const links = yield* processes(2)
      const policy = { ...two, evidence: "any" } as const
      const breakers = yield* Effect.forEach(links, (link) => link.make("shadow-fleet", policy))
      const guards = breakers.map((breaker) => comparing({ old: oldOne().guard, new: breaker }).guard)
      for (const guard of guards) yield* guard.wrapWith(ran, {})
      for (const _ of [1, 2]) yield* Effect.ignore(guards[0]!.wrapWith(boom, {}))
      yield* untilQuiet
      assert.deepStrictEqual(yield* Effect.forEach(breakers, ({ state }) => state), ["Open", "Open"])
      yield* guards[1]!.wrapWith(ran, {})
      assert.strictEqual((yield* Compare.agreement(guards[1]!)).decided, 1)
      yield* TestClock.adjust("10 seconds")
      // The lease of the probe is a request to the storage, and the call does not wait for it.
      links[1]!.fault(slow(50), "probe")
      assert.strictEqual(yield* guards[1]!.wrapWith(ran, {}), "ran")
      const { calls } = yield* Compare.agreement(guards[1]!)
      yield* TestClock.adjust("5 seconds")
      yield* untilQuiet
      assert.strictEqual((yield* Compare.agreement(guards[1]!)).calls, calls + 1)
      assert.deepStrictEqual(yield* Effect.forEach(breakers, ({ state }) => state), ["Closed", "Closed"])
    }))

  it.effect("Effect's own breaker can be either side, and says how it judges", () =>
    Effect.gen(function*() {
      const theirs = yield* CircuitBreaker.make({
        tripPolicy: CircuitBreaker.consecutive(3),
        openDuration: "10 seconds"
      })
      const old = EffectCircuitBreaker.guard(theirs, { key: "payments" })
      const breaker = yield* make("beside-effect", { ...two, classify: () => Outcome.failure() })
      let decides: Compare.Side = "old"
      const { guard, mismatches } = comparing({ old, new: breaker }, { decides: Effect.sync(() => decides) })
      yield* guard.wrapWith(ran, {})
      assert.deepInclude(mismatches[0], { _tag: "Outcome", old: "Success", new: "Failure" })
      yield* Effect.ignore(guard.wrapWith(boom, {}))
      assert.strictEqual(yield* breaker.state, "Open")
      for (const _ of [1, 2]) yield* Effect.ignore(guard.wrapWith(boom, {}))
      assert.strictEqual((yield* Effect.flip(guard.wrapWith(ran, {})))._tag, "CircuitBreakerError")
      decides = "new"
      assert.instanceOf(yield* Effect.flip(guard.wrapWith(ran, {})), Breaker.BreakerOpenError)
      assert.deepStrictEqual(yield* Compare.agreement(guard), { calls: 6, decided: 2, outcome: 1 })
    }).pipe(Effect.provide(CircuitBreaker.layerStoreMemory())))

  it.effect("goes behind an HTTP client, whose bodies can settle it", () =>
    Effect.gen(function*() {
      const breaker = yield* make("shadow-http", two)
      const { guard } = comparing({ old: oldOne().guard, new: breaker })
      const { client } = yield* clientOf(({ url }) => ({ status: url.endsWith("sick") ? 503 : 200, body: "text" }))
      const head = BreakerHttpClient.withBreaker(client, guard)
      yield* head.get("https://a.test/well")
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
      const end = BreakerHttpClient.withBreaker(client, guard, { bodies: "end" })
      const response = yield* end.get("https://a.test/well")
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 1)
      yield* response.text
      assert.strictEqual((yield* breaker.snapshot).statistics.success, 2)
      yield* end.get("https://a.test/sick")
      assert.strictEqual((yield* breaker.snapshot).statistics.failure, 1)
    }))

  it("refuses flags that are none", () => {
    const side = oldOne().guard
    for (const options of [{ decides: "neither" }, { compare: "yes" }, { decides: () => "old" }]) {
      assert.throws(() => Compare.compare({ old: side, new: side }, options as any), RangeError, "must be")
    }
  })
})

describe("the flags", () => {
  const provide = (env: Record<string, string>) =>
    Effect.provideService(ConfigProvider.ConfigProvider, ConfigProvider.fromEnvRecord(env))

  /** Which one decided about a call, and whether the other one was asked. */
  const asked = (options: Compare.CompareOptions) =>
    Effect.gen(function*() {
      const old = oldOne()
      const now = oldOne()
      const guard = Compare.compare({ old: old.guard, new: now.guard }, options)
      yield* Effect.ignore(guard.wrapWith(ran, {}))
      return [old.told.length > 0 ? "old" : "", now.told.length > 0 ? "new" : ""].filter((side) => side !== "")
    })

  it.effect("come from the environment of the call", () =>
    Effect.gen(function*() {
      const alone = { CIRCUIT_BREAKER_COMPARISON: "off" }
      assert.deepStrictEqual(yield* provide({})(asked({})), ["old", "new"])
      assert.deepStrictEqual(yield* provide(alone)(asked({})), ["old"])
      assert.deepStrictEqual(yield* provide({ ...alone, CIRCUIT_BREAKER_DECIDES: " New " })(asked({})), ["new"])
      assert.deepStrictEqual(yield* provide({ ...alone, CIRCUIT_BREAKER_DECIDES: "new" })(asked({ decides: "old" })), [
        "old"
      ])
      assert.deepStrictEqual(yield* provide(alone)(asked({ compare: true })), ["old", "new"])
    }))

  it.effect("that say nothing are logged once, and mean the old one, and both", () =>
    Effect.gen(function*() {
      const lines: Array<string> = []
      const logger = Logger.make<unknown, void>(({ fiber, message }) => {
        lines.push(`${String(message)}: ${String(fiber.getRef(References.CurrentLogAnnotations)["value"])}`)
      })
      const env = { CIRCUIT_BREAKER_DECIDES: "both", CIRCUIT_BREAKER_COMPARISON: "perhaps" }
      const provider = ConfigProvider.fromEnvRecord(env)
      const call = Effect.provideService(asked({}), ConfigProvider.ConfigProvider, provider)
      assert.deepStrictEqual(yield* Effect.provide(Effect.andThen(call, call), Logger.layer([logger])), ["old", "new"])
      assert.deepStrictEqual(lines, [
        "CIRCUIT_BREAKER_DECIDES must be old or new; the old breaker decides: \"both\"",
        "CIRCUIT_BREAKER_COMPARISON must be true or false; breakers are compared: \"perhaps\""
      ])
    }))

  it.effect("that fail are reported, and mean the old one, and both", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const wrong = Effect.succeed("neither" as Compare.Side)
        assert.deepStrictEqual(yield* asked({ decides: Effect.die("flag"), compare: Effect.die("flag") }), [
          "old",
          "new"
        ])
        assert.deepStrictEqual(yield* asked({ decides: wrong, compare: false }), ["old"])
        assert.deepStrictEqual(reports.map(({ message }) => message), [
          "decides of a comparison failed; the old breaker decides",
          "compare of a comparison failed; both breakers are asked",
          "decides of a comparison failed; the old breaker decides"
        ])
      })
    ))
})

describe("a mismatch", () => {
  const disagreeing = Effect.map(make("disagreeing", { ...two, trip: Trip.consecutiveFailures(1) }), (breaker) => ({
    old: oldOne().guard,
    new: breaker
  }))

  it.effect("is counted, and logged at most once a second for each circuit", () =>
    Effect.gen(function*() {
      const lines: Array<readonly [string, unknown]> = []
      const logger = Logger.make<unknown, void>(({ fiber, message }) => {
        lines.push([String(message), fiber.getRef(References.CurrentLogAnnotations)])
      })
      const guard = Compare.compare(yield* disagreeing, { decides: "old" })
      yield* Effect.gen(function*() {
        yield* Effect.ignore(guard.wrapWith(boom, {}))
        for (const _ of [1, 2, 3]) yield* guard.wrapWith(ran, {})
        yield* TestClock.adjust("1 second")
        yield* guard.wrapWith(ran, {})
      }).pipe(Effect.provide(Logger.layer([logger])))
      assert.strictEqual(lines.length, 2)
      assert.strictEqual(lines[0]![0], "Two compared breakers disagree about a call")
      const fields = lines.map(([, fields]) => fields as Record<string, unknown>)
      assert.deepInclude(fields[0], {
        circuit: "disagreeing",
        kind: "Decided",
        decides: "old",
        old: "run",
        new: "rejected",
        old_reason: "none",
        unlogged: 0
      })
      assert.include(fields[0]!["new_reason"], "1 consecutive failure")
      assert.strictEqual(fields[1]!["unlogged"], 2)
      const counted = (yield* Metric.snapshot).filter(({ id }) => id === "circuit_breaker.compare.mismatches")
      assert.deepStrictEqual(counted.map(({ attributes, state }) => [attributes, state]), [
        [{ circuit: "disagreeing", decides: "old", kind: "Decided" }, { count: 4, incremental: true }]
      ])
    }).pipe(Effect.provideService(Metric.MetricRegistry, new Map())))

  it.effect("is told beside the call: a handler that never ends, or fails, changes nothing", () =>
    withReports((reports) =>
      Effect.gen(function*() {
        const handlers = [Effect.never, Effect.die("handler")]
        const guard = Compare.compare(yield* disagreeing, { decides: "old", onMismatch: () => handlers.pop()! })
        yield* Effect.ignore(guard.wrapWith(boom, {}))
        for (const _ of [1, 2]) assert.strictEqual(yield* guard.wrapWith(ran, {}), "ran")
        yield* untilQuiet
        assert.deepStrictEqual(reports.map(({ message }) => message), ["onMismatch of a comparison failed"])
        assert.strictEqual((yield* Compare.agreement(guard)).decided, 2)
      })
    ))
})
