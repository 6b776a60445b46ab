/** Laws of `sync`: reads, which change nothing, and reports. */
import * as Duration from "effect/Duration"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { type Delta, noCounts, noDelta, noLifetimeCounts } from "../core/Delta.ts"
import { atLeast, is, near, Range, SLACK_MILLIS, unchanged } from "./Claim.ts"
import {
  atOnce,
  type Definition,
  failed,
  failure,
  failures,
  FENCED,
  HOUR,
  ignored,
  law,
  MINUTE,
  NOTHING,
  reading,
  WITHINS
} from "./Law.ts"

export const reads: ReadonlyArray<Definition> = [
  law(
    "the storage has the declared capabilities and idle time",
    {},
    function*({ capabilities, idleTimeToLive, storage }) {
      yield* is("capabilities", storage.capabilities, { ...capabilities })
      yield* is("idleTimeToLive", Duration.toMillis(storage.idleTimeToLive), idleTimeToLive)
      yield* is("whether backend says anything", storage.backend.length, atLeast(1))
    }
  ),

  law(
    "a circuit that was never written is Closed at generation 0, and reading it creates nothing",
    {},
    function*({ circuit, storage }) {
      const untouched = circuit()
      for (const time of ["first", "second"]) {
        yield* is(`the ${time} read`, yield* untouched.send({ instance: time, sequence: 7 }), {
          reported: "Counted",
          snapshot: { ...NOTHING, totals: [noCounts] }
        })
      }
      yield* is("a requested probe", yield* untouched.ask("a"), { granted: false, snapshot: NOTHING })
      yield* is("a settled probe", yield* untouched.settle("a", failure), { granted: false, snapshot: NOTHING })
      const seen = yield* untouched.read
      yield* is("a trip of another generation", yield* untouched.trip({ ...seen, generation: 1 }), {
        committed: false,
        snapshot: NOTHING
      })
      const names = yield* Stream.runCollect(storage.list)
      yield* is("whether it is listed", names.includes(untouched.name), false)
      yield* is("its history", yield* storage.history(untouched.name), [])
    }
  ),

  law("a batch is answered in its order, with one answer per report", {}, function*({ circuit, storage }) {
    const [a, b, c] = [circuit("a").name, circuit("b").name, circuit("c").name]
    const names = [b, c, a, b]
    const answers = yield* storage.sync(names.map((name, index) => reading(name, `${index}`)))
    yield* is("the circuits answered", answers.map(({ circuit }) => circuit), names)
    yield* is("how many have a snapshot", answers.filter(({ result }) => Result.isSuccess(result)).length, 4)
    yield* is("the answer to an empty batch", yield* storage.sync([]), [])
  }),

  law("asOf is in milliseconds", FENCED, function*({ circuit, unit, wait }) {
    const before = yield* circuit().read
    yield* wait(2 * unit)
    const after = yield* circuit().read
    yield* is("asOf, two units later", after.asOf - before.asOf, new Range(2 * unit - SLACK_MILLIS, 20 * unit + 1000))
  })
]

export const reports: ReadonlyArray<Definition> = [
  law(
    "a report is counted once per circuit, instance and sequence, however often and late it arrives",
    FENCED,
    function*({ circuit, storage }) {
      const it = circuit("it")
      const first = { instance: "a", sequence: 1, delta: failures(2) }
      const answer = { reported: "Counted" }
      yield* is("the first", yield* it.send(first), answer)
      yield* is("the first, twice", yield* it.send(first), { ...answer, snapshot: failed(2) })
      yield* is("a later one", yield* it.send({ ...first, sequence: 3, delta: failures(3) }), answer)
      yield* is(
        "one overtaken by a later sequence",
        yield* it.send({ ...first, sequence: 2, delta: failures(7) }),
        answer
      )
      yield* is("the first, late", yield* it.send(first), { ...answer, snapshot: failed(5) })
      yield* is("another instance's", yield* it.send({ ...first, instance: "__proto__" }), {
        ...answer,
        snapshot: failed(7)
      })
      const other = circuit("other")
      yield* is("another circuit's", yield* other.send(first), { ...answer, snapshot: failed(2) })
      const twice = { circuit: circuit("twice").name, generation: 0, withins: WITHINS, ...first }
      yield* storage.sync([twice, twice, { ...twice, instance: "b" }])
      yield* is("twice in one batch, beside another instance's", yield* circuit("twice").read, failed(4))
      yield* it.open()
      yield* it.operate({ _tag: "Remove" })
      yield* it.send(first)
      yield* is("the first, after a trip and a remove", (yield* it.read).lifetime.failure, 0)
    }
  ),

  law("every part of a report is added up", FENCED, function*({ circuit }) {
    const it = circuit()
    const mixed: Delta = {
      buckets: [{ age: 0, success: 3, failure: 2, slow: 1 }],
      streak: { leading: 1, sawSuccess: true, trailing: 1 },
      lifetime: {
        success: 3,
        failure: 2,
        ignored: 4,
        timeout: 1,
        slow: 1,
        rejected: 6,
        lastSuccessAge: 500,
        lastSuccessDuration: 12.5,
        lastFailureAge: 0,
        lastFailureDuration: 340
      },
      hint: MINUTE
    }
    yield* it.report(failures(2))
    yield* is("after failures", yield* it.read, { ...failed(2), hint: 0 })
    yield* is("with a success amid failures", yield* it.report(mixed), {
      snapshot: { streak: 1, totals: [{ success: 3, failure: 4, slow: 1 }], hint: near(MINUTE) }
    })
    yield* is("with a shorter hint", yield* it.report(failures(2, 1000), { instance: "b", sequence: 1 }), {
      snapshot: { streak: 3, hint: new Range(MINUTE / 2, MINUTE) }
    })
    yield* is("with ignored calls only", yield* it.report(ignored(5)), {
      snapshot: {
        ...NOTHING,
        hint: new Range(MINUTE / 2, MINUTE),
        streak: 3,
        totals: [{ success: 3, failure: 6, slow: 1 }],
        lifetime: {
          success: 3,
          failure: 6,
          ignored: 9,
          timeout: 1,
          slow: 1,
          rejected: 6,
          opened: 0,
          lastSuccessAge: atLeast(500),
          lastSuccessDuration: 12.5,
          lastFailureAge: atLeast(0),
          lastFailureDuration: undefined
        }
      }
    })
    const good: Delta = {
      ...noDelta,
      streak: { leading: 0, sawSuccess: true, trailing: 0 },
      lifetime: { ...noLifetimeCounts, success: 1 }
    }
    yield* is("after a success", yield* it.report(good), { snapshot: { streak: 0, lifetime: { success: 4 } } })
  }),

  law(
    "counts are dated by their age, kept per bucket width, and leave the window in time",
    FENCED,
    function*({ circuit, wait }) {
      const it = circuit()
      const counts = (age: number, failure: number) => ({ ...noCounts, age, failure })
      const delta: Delta = {
        ...failures(1),
        buckets: [
          counts(70_000, 32),
          counts(30_000, 16),
          counts(9000, 8),
          counts(5000, 4),
          counts(0, 2),
          counts(-90_000, 1)
        ]
      }
      const seen = yield* it.report(delta, { withins: [10_000, 60_000] })
      yield* is("over 10 s and a minute", seen.snapshot.totals, [{ failure: 15 }, { failure: 31 }])
      yield* is("over other spans of the same width", yield* it.send({ withins: [6500, 20_000] }), {
        snapshot: { totals: [{ failure: 7 }, { failure: 15 }] }
      })
      yield* is("over an hour, which is of another width", yield* it.send({ withins: [HOUR] }), {
        snapshot: { totals: [noCounts] }
      })
      yield* is("without a window", yield* it.send({ withins: [] }), { snapshot: { totals: [] } })
      yield* wait(1000)
      yield* is("over 10 s, a second later", yield* it.send({ withins: [10_000] }), {
        snapshot: { totals: [{ failure: 7 }] }
      })
    }
  ),

  law(
    "calls that were shed are counted beside the outcomes, once each, and leave the window in time",
    FENCED,
    function*({ circuit, wait }) {
      const it = circuit()
      const shed = (age: number, shed: number, success = 0) => ({ ...noCounts, age, success, shed })
      const of = (buckets: Delta["buckets"]): Delta => ({
        ...noDelta,
        buckets,
        lifetime: { ...noLifetimeCounts, rejected: 1 }
      })
      // A bucket may leave a second early, and is still there for a second.
      const seen = yield* it.report(of([shed(70_000, 8), shed(8000, 4, 1), shed(0, 2)]), { withins: [10_000, HOUR] })
      yield* is("over 10 s and an hour", seen.snapshot.totals, [{ success: 1, shed: 6 }, { success: 1, shed: 14 }])
      const more = yield* it.report(of([shed(0, 1)]), { instance: "b", sequence: 1, withins: [10_000] })
      yield* is("with another's", more.snapshot.totals, [{ success: 1, failure: 0, slow: 0, shed: 7 }])
      yield* it.report(of([shed(0, 1)]), { instance: "b", sequence: 1, withins: [10_000] })
      yield* it.report(failures(5), { instance: "c", sequence: 1, withins: [10_000] })
      const again = yield* it.send({ withins: [10_000, 30_000] })
      yield* is("after a repeat, and beside failures", again, {
        snapshot: { totals: [{ success: 1, failure: 5, shed: 7 }, { success: 1, failure: 5, shed: 7 }] }
      })
      yield* wait(2000)
      yield* is("over 10 s, two seconds later", yield* it.send({ withins: [10_000] }), {
        snapshot: { totals: [{ success: 0, failure: 5, shed: 3 }] }
      })
      yield* it.open()
      yield* is("after a trip", (yield* it.send({ withins: [10_000] })).snapshot.totals[0]!.shed, undefined)
    }
  ),

  law(
    "a short span beside a long one counts as exactly as alone",
    FENCED,
    function*({ circuit }) {
      const counts = (age: number, failure: number) => ({ ...noCounts, age, failure })
      const delta: Delta = { ...failures(1), buckets: [counts(45_000, 4), counts(7000, 2), counts(0, 1)] }
      const [alone, both] = [circuit("alone"), circuit("both")]
      const short = yield* alone.report(delta, { withins: [5000] })
      yield* is("alone", short.snapshot.totals, [{ failure: 1 }])
      const seen = yield* both.report(delta, { withins: [5000, HOUR] })
      yield* is("beside an hour", seen.snapshot.totals, [{ failure: 1 }, { failure: 7 }])
      yield* is("in another order", yield* both.send({ withins: [HOUR, 5000, 30_000] }), {
        snapshot: { totals: [{ failure: 7 }, { failure: 1 }, { failure: 3 }] }
      })
      yield* both.report(failures(8), { instance: "b", sequence: 1, withins: [5000] })
      yield* is("with another's that looks back less far", yield* both.send({ withins: [5000, HOUR] }), {
        snapshot: { totals: [{ failure: 9 }, { failure: 7 }] }
      })
    }
  ),

  law(
    "a report that arrives late is as old as it is, and is refused beyond half the idle time",
    FENCED,
    function*({ circuit, idleTimeToLive }) {
      const it = circuit()
      const { asOf } = yield* it.read
      yield* is("one in time", yield* it.report(failures(1), { asOf }), { reported: "Counted", snapshot: failed(1) })
      const late = yield* it.report(failures(2, 2 * MINUTE), { asOf: asOf - MINUTE })
      yield* is("one that is a minute late", late, {
        reported: "Counted",
        snapshot: {
          totals: [{ failure: 1 }],
          hint: new Range(MINUTE / 2, MINUTE),
          lifetime: { failure: 3, lastFailureAge: new Range(0, MINUTE / 2) }
        }
      })
      const before = yield* it.read
      const tooLate = { instance: "b", sequence: 1, asOf: asOf - idleTimeToLive / 2 - 1000 }
      const refused = yield* it.report(failures(4), tooLate)
      yield* is("one that is too late", refused.reported, "Refused")
      yield* unchanged("after it", refused.snapshot, before)
      const absent = circuit("absent")
      yield* is("one of a circuit that was never written", yield* absent.report(failures(4), tooLate), {
        reported: "Refused",
        snapshot: NOTHING
      })
      yield* it.report(failures(8), { instance: "c", sequence: 1, asOf })
      yield* is(
        "one that was counted before it is too late",
        yield* it.report(failures(8), { ...tooLate, instance: "c" }),
        { reported: "Counted", snapshot: { lifetime: { failure: 11 } } }
      )
    }
  ),

  law(
    "a report of an older generation enters only the lifetime counts, one of a newer generation nothing",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      yield* it.report(failures(3))
      const { snapshot: opened } = yield* it.open()
      const late = { sequence: 9, generation: 0, delta: failures(2, MINUTE) }
      const counted = yield* it.send(late)
      yield* is("after an older one", counted, {
        reported: "Counted",
        snapshot: { generation: opened.generation, streak: 0, totals: [noCounts], hint: 0, lifetime: { failure: 5 } }
      })
      const early = { ...late, sequence: 10, generation: opened.generation + 1 }
      const behind = yield* it.send(early)
      yield* is("a newer one", behind.reported, "Behind")
      yield* unchanged("after a newer one", behind.snapshot, counted.snapshot)
      yield* is(
        "it sent again under the storage's generation",
        yield* it.send({ ...early, generation: opened.generation }),
        {
          reported: "Counted",
          snapshot: { ...failed(2), lifetime: { failure: 7 } }
        }
      )
      yield* is("one of a generation that the circuit never had", yield* circuit("absent").send(early), {
        reported: "Behind",
        snapshot: NOTHING
      })
    }
  ),

  law("a hundred concurrent reports count exactly a hundred", FENCED, function*({ circuit }) {
    const it = circuit()
    yield* atOnce(100, (index) => it.send({ instance: `${index}`, sequence: 1, delta: failures(1) }))
    yield* is("all of them", yield* it.read, failed(100))
  })
]
