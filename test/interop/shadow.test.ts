/**
 * A shadow is a true one: over any traffic it decides, counts and learns exactly as a breaker that decides.
 *
 * Each play runs two breakers of one policy on one clock. The reference decides about its calls. The other one is compared with an old
 * breaker, and decides or not as the play says.
 */
import { assert, describe, it } from "@effect/vitest"
import { Data, Effect, Schema } from "effect"
import { TestClock } from "effect/testing"
import { Breaker, Outcome, Trip } from "../../src/index.ts"
import * as Adapter from "../../src/interop/Adapter.ts"
import * as Compare from "../../src/interop/Compare.ts"
import { make, untilQuiet } from "../utils.ts"

const upTo = (maximum: number) => Schema.Int.check(Schema.isBetween({ minimum: 0, maximum }))

const ENDS = ["success", "success", "failure", "failure", "hinted", "ignored", "interrupted", "died"] as const
const STEP_MILLIS = 50

const Calls = Schema.Array(Schema.Struct({
  waitSteps: upTo(12),
  durationSteps: upTo(10),
  end: Schema.Literals(ENDS),
  isClassified: Schema.Boolean,
  newDecides: Schema.Boolean,
  oldRejects: upTo(3)
})).check(Schema.isMaxLength(40))
type Call = (typeof Calls.Type)[number]

const Policy = Schema.Struct({
  trip: upTo(5),
  probes: upTo(2),
  successes: upTo(2),
  ramps: Schema.Boolean,
  bulkhead: upTo(3),
  timesOut: Schema.Boolean
})

const TRIPS = [
  Trip.consecutiveFailures(1),
  Trip.consecutiveFailures(2),
  Trip.failures({ count: 3, within: "2 seconds" }),
  Trip.failureRate({ threshold: 0.5, minimumCalls: 3, lastCalls: 5 }),
  Trip.failureRate({ threshold: 0.5, minimumCalls: 2, within: "1 second" }),
  Trip.slowCallRate({ threshold: 0.5, slowerThan: "230 millis", minimumCalls: 2, lastCalls: 4 })
] as const

const policyOf = (
  { bulkhead, probes, ramps, successes, timesOut, trip }: typeof Policy.Type
): Breaker.Policy => ({
  trip: TRIPS[trip]!,
  openFor: "1 second",
  halfOpen: {
    probes: 1 + probes,
    successes: 1 + successes,
    lease: "411 millis",
    ...(ramps ? { ramp: "1 second" } : {})
  },
  ...(bulkhead === 0 ? {} : { maxConcurrent: bulkhead }),
  // No call ends at the same time, because calls start and end on steps.
  ...(timesOut ? { timeout: "321 millis" } : {})
})

class Judged extends Data.TaggedError("Judged")<{ readonly as: Outcome.Outcome }> {
  get [Outcome.outcome]() {
    return this.as
  }
}

const endOf = (end: Call["end"]): Effect.Effect<void, Judged> => {
  switch (end) {
    case "success":
      return Effect.void
    case "failure":
      return Effect.fail(new Judged({ as: Outcome.failure() }))
    case "hinted":
      return Effect.fail(new Judged({ as: Outcome.failure({ retryAfter: "2 seconds" }) }))
    case "ignored":
      return Effect.fail(new Judged({ as: Outcome.ignored }))
    case "interrupted":
      return Effect.interrupt
    case "died":
      return Effect.die("defect")
  }
}

const bodyOf = ({ durationSteps, end }: Call) =>
  durationSteps === 0
    ? endOf(end)
    : Effect.andThen(Effect.sleep(durationSteps * STEP_MILLIS), endOf(end))

const optionsOf = ({ isClassified }: Call) =>
  isClassified ? { classify: () => Outcome.failure({ retryAfter: "1500 millis" }) } : {}

/** Starts a call, which goes on beside the next ones. Succeeds with whether it was rejected at once. */
const startCall = <E>(call: Effect.Effect<void, E>) =>
  Effect.map(Effect.forkChild(Effect.exit(call), { startImmediately: true }), (fiber) => {
    const exit = fiber.pollUnsafe()
    return exit?._tag === "Success" && exit.value._tag === "Failure" &&
      exit.value.cause.reasons.some((reason) => reason._tag === "Fail" && Breaker.isRejection(reason.error))
  })

const play = (policy: typeof Policy.Type, calls: ReadonlyArray<Call>) =>
  Effect.gen(function*() {
    const reference = yield* make("reference", policyOf(policy))
    const breaker = yield* make("compared", policyOf(policy))
    let call: Call | undefined
    let oldRan = 0
    const told = () => void oldRan++
    const old = Adapter.twoStep("old", {
      before: () => call?.oldRejects !== 1,
      success: told,
      failure: told,
      ignored: told
    })
    const disagreed: Array<Compare.Mismatch> = []
    const guard = Compare.compare({ old, new: breaker }, {
      decides: Effect.sync(() => call?.newDecides ? "new" : "old"),
      compare: true,
      onMismatch: (mismatch) => Effect.sync(() => disagreed.push(mismatch))
    })
    const learnt = ({ snapshot }: typeof breaker) =>
      Effect.map(snapshot, ({ state, statistics: { lastSuccessTime: _, ...statistics }, windows, why }) => // The time of a success is as coarse as a tick, and each breaker has its own.
      ({ state, statistics, windows, why }))
    const agree = Effect.gen(function*() {
      const [a, b] = [yield* learnt(reference), yield* learnt(breaker)]
      assert.deepStrictEqual(b, a)
      if (a.state === "HalfOpen") met.probes++
      if (a.state === "Closed" && a.statistics.timesOpened > 0) met.closedAgain++
    })
    let ran = 0
    for (call of calls) {
      yield* TestClock.adjust(call.waitSteps * STEP_MILLIS)
      yield* untilQuiet
      yield* agree
      const isUnseen = !call.newDecides && call.oldRejects === 1
      const isRejected = yield* startCall(
        isUnseen
          ? reference.wrapWith(Effect.void, { classify: () => Outcome.ignored })
          : reference.wrapWith(bodyOf(call), optionsOf(call))
      )
      if (isRejected) met.rejected++
      const before = disagreed.length
      yield* startCall(guard.wrapWith(bodyOf(call), optionsOf(call)))
      const decided = disagreed.slice(before).find(({ _tag }) => _tag === "Decided")
      const oldSays = call.oldRejects === 1 ? "rejected" : "run"
      const newSays = isRejected ? "rejected" : "run"
      assert.deepStrictEqual(
        decided && [decided.decides, decided.old, decided.new],
        oldSays === newSays ? undefined : [call.newDecides ? "new" : "old", oldSays, newSays]
      )
      yield* agree
      // The old one is told of each call that it let through, also of those that the new one rejected.
      if (oldSays === "run") ran++
    }
    yield* TestClock.adjust("10 seconds")
    yield* untilQuiet
    yield* agree
    met.timeouts += (yield* breaker.snapshot).statistics.timeout
    assert.strictEqual(oldRan, ran)
    assert.strictEqual((yield* Compare.agreement(guard)).calls, calls.length)
  }).pipe(Effect.scoped)

/** What the plays have met, so that a play in which nothing happens is noticed. */
const met = { rejected: 0, probes: 0, timeouts: 0, closedAgain: 0 }

const many = { arbitrary: { runs: 200, size: 60 } }

describe("a shadow", () => {
  it.effect.prop("decides as a breaker that decides, where the old one rejects nothing", [Policy, Calls], (
    [policy, calls]
  ) => play(policy, calls.map((call) => ({ ...call, newDecides: false, oldRejects: 0 }))), many)

  it.effect.prop(
    "takes a call that the old one rejects as ignored, and goes on where the flag is switched",
    [
      Policy,
      Calls
    ],
    ([policy, calls]) => play(policy, calls),
    many
  )

  it("was open, half-open and closed again in these plays, and timed out", () => {
    for (const [what, count] of Object.entries(met)) assert.isAbove(count, 100, what)
  })
})
