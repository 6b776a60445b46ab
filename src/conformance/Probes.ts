/** Laws of `probe`: requesting and settling leases. */
import { MOST_LAPSED_LEASES } from "../core/Lease.ts"
import { atLeast, is, near, Range, unchanged } from "./Claim.ts"
import {
  atOnce,
  type Circuit,
  type Definition,
  failure,
  failures,
  FENCED,
  FORCED,
  HOUR,
  IGNORED,
  law,
  MINUTE,
  secondFailure,
  success,
  times
} from "./Law.ts"

export const probes: ReadonlyArray<Definition> = [
  law(
    "no lease is granted while the circuit is Closed or its open time runs; afterwards the first Ask begins the round",
    FENCED,
    function*({ circuit, unit, wait }) {
      const it = circuit()
      yield* it.report(failures(1))
      yield* is("while Closed", yield* it.ask("a"), { granted: false, snapshot: { state: { _tag: "Closed" } } })
      const { snapshot: opened } = yield* it.open({ openFor: 4 * unit })
      const denied = yield* it.ask("a")
      yield* is("while Open", denied.granted, false)
      yield* unchanged("after it", denied.snapshot, opened)
      yield* wait(4 * unit)
      yield* is("the circuit when its open time is over", yield* it.read, {
        generation: opened.generation,
        state: { _tag: "Open", remaining: 0 }
      })
      yield* is("the first Ask after it", yield* it.ask("a", { fingerprint: "asker", duration: MINUTE }), {
        granted: true,
        snapshot: {
          generation: atLeast(opened.generation + 1),
          state: { _tag: "HalfOpen", live: 1, successes: 0, nextLapse: near(MINUTE) },
          elapsed: near(0),
          openings: 1,
          fingerprint: "asker",
          streak: 0,
          totals: []
        }
      })
    }
  ),

  law(
    "of concurrent Asks, as many are granted as the policy has probes, all in one round",
    FENCED,
    function*({ circuit, unit, wait }) {
      const it = circuit()
      const { snapshot: { generation } } = yield* it.open({ openFor: unit })
      yield* wait(unit)
      const answers = yield* atOnce(20, (index) => it.ask(`${index}`, { generation, probes: 3 }))
      yield* is("how many were granted", answers.filter(({ granted }) => granted).length, 3)
      yield* is("how many rounds began", new Set(answers.map(({ snapshot }) => snapshot.generation)).size, 1)
      yield* is("the circuit", yield* it.read, { state: { _tag: "HalfOpen", live: 3 } })
      yield* is("an instance whose policy has more probes", yield* it.ask("more", { probes: 4 }), {
        granted: true,
        snapshot: { state: { live: 4 } }
      })
      yield* is("an instance whose policy has fewer", yield* it.ask("fewer", { probes: 1 }), {
        granted: false,
        snapshot: { state: { live: 4, nextLapse: new Range(MINUTE / 2, MINUTE) } }
      })
    }
  ),

  law(
    "an Ask repeated under the same name grants one lease and does not extend it",
    FENCED,
    function*({ circuit, unit, wait }) {
      const it = circuit()
      yield* it.operate({ _tag: "HalfOpen" })
      const first = yield* it.ask("a", { probes: 2 })
      yield* wait(unit)
      const second = yield* it.ask("a", { probes: 2 })
      yield* is("both", [first.granted, second.granted], [true, true])
      yield* unchanged("after both", second.snapshot, first.snapshot)
      const other = circuit("at once")
      yield* other.operate({ _tag: "HalfOpen" })
      yield* atOnce(10, () => other.ask("a", { probes: 5 }))
      yield* is("ten times at once", yield* other.read, { state: { live: 1 } })
    }
  ),

  law(
    "a lease that lapsed frees its place, and is settled like any other in its generation",
    FENCED,
    function*({ circuit, unit, wait }) {
      const outcomes = [
        [IGNORED, { _tag: "HalfOpen", live: 1, successes: 0 }],
        [success(2), { _tag: "HalfOpen", live: 1, successes: 1 }],
        [success(), { _tag: "Closed" }],
        [failure, { _tag: "Open" }]
      ] as const
      const all = outcomes.map(([outcome, state], index) => ({ it: circuit(`${index}`), outcome, state }))
      for (const { it } of all) {
        yield* it.operate({ _tag: "HalfOpen" })
        yield* it.ask("a", { duration: 3 * unit })
        yield* is("another, meanwhile", yield* it.ask("b"), {
          granted: false,
          snapshot: { state: { live: 1, nextLapse: new Range(0, 3 * unit) } }
        })
      }
      yield* wait(3 * unit)
      for (const { it, outcome, state } of all) {
        const { state: lapsed } = yield* it.read
        yield* is("at its end", lapsed, { _tag: "HalfOpen", live: 0, nextLapse: undefined })
        yield* is("its Ask, sent again", yield* it.ask("a"), { granted: false })
        yield* is("another instance's Ask, then", yield* it.ask("b", { sequence: 2 }), { granted: true })
        const settled = `${outcome._tag} of the lapsed lease, after another was granted`
        yield* is(settled, yield* it.settle("a", outcome), { granted: true, snapshot: { state } })
        const before = yield* it.read
        yield* is(`${settled}, again`, yield* it.settle("a", outcome), { granted: false })
        yield* unchanged("after that", yield* it.read, before)
      }
    }
  ),

  law(
    `of the leases that lapsed, the newest ${MOST_LAPSED_LEASES} are kept`,
    FENCED,
    function*({ circuit, unit, wait }) {
      const it = circuit()
      yield* it.operate({ _tag: "HalfOpen" })
      for (const index of times(MOST_LAPSED_LEASES + 1)) {
        yield* it.ask(`${index}`, { duration: unit + index, probes: MOST_LAPSED_LEASES + 1 })
      }
      yield* wait(unit + MOST_LAPSED_LEASES)
      yield* is("an Ask once all have lapsed", yield* it.ask("later"), { granted: true })
      yield* is("the oldest, settled", yield* it.settle("0", IGNORED), { granted: false })
      yield* is("the next, settled", yield* it.settle("1", IGNORED), { granted: true })
      yield* is("the newest, settled", yield* it.settle(`${MOST_LAPSED_LEASES}`, IGNORED), { granted: true })
      yield* is("the circuit", yield* it.read, { state: { _tag: "HalfOpen", live: 1 } })
    }
  ),

  law("a lease is settled once, and a late Ask does not bring it back", FENCED, function*({ circuit }) {
    const it = circuit()
    yield* it.operate({ _tag: "HalfOpen" })
    yield* it.ask("a")
    yield* is("the first time", yield* it.settle("a", success(3)), { granted: true })
    yield* is("the second", yield* it.settle("a", success(3)), { granted: false })
    yield* is("an Ask afterwards", yield* it.ask("a"), { granted: false })
    yield* is("the circuit", (yield* it.read).state, { live: 0, successes: 1 })
    yield* it.operate({ _tag: "HalfOpen" })
    yield* is("the same Ask in the next round", yield* it.ask("a"), { granted: false })
    yield* is("an Ask under a later name", yield* it.ask("a", { sequence: 2 ** 40 }), { granted: true })
    yield* is("settled under it", yield* it.settle("a", IGNORED, { sequence: 2 ** 40 }), { granted: true })
    const odd = "'; {a}:*\n🦆"
    yield* is("an Ask under a name with special characters", yield* it.ask(odd), { granted: true })
    yield* is("settled under that", yield* it.settle(odd, IGNORED), { granted: true })
  }),

  law(
    "the last success closes, a failure reopens, an ignored probe only frees its lease",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      yield* it.report(failures(1, 30_000))
      const { snapshot: opened } = yield* it.open()
      const { snapshot: round } = yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("a", { sequence: 1 })
      yield* is("an ignored one", yield* it.settle("a", IGNORED), {
        granted: true,
        snapshot: { generation: round.generation, state: { _tag: "HalfOpen", live: 0, successes: 0 } }
      })
      yield* it.ask("a", { sequence: 2 })
      const hinted = {
        _tag: "Failure",
        opening: { openFor: MINUTE, maxOpenFor: 2 * MINUTE },
        hint: 5 * MINUTE,
        why: { reason: "a probe failed" }
      } as const
      const { snapshot: reopened } = yield* it.settle("a", hinted, { sequence: 2 })
      yield* is("a failure", reopened, {
        generation: atLeast(round.generation + 1),
        state: { _tag: "Open", remaining: near(2 * MINUTE) },
        elapsed: near(0),
        openings: opened.openings + 1,
        why: hinted.why,
        lifetime: { opened: 2, failure: 1 }
      })
      yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("a", { sequence: 3, probes: 2 })
      yield* it.ask("b", { probes: 2 })
      yield* is("the first success of two", yield* it.settle("a", success(2), { sequence: 3 }), {
        granted: true,
        snapshot: { state: { _tag: "HalfOpen", live: 1, successes: 1 } }
      })
      yield* is("the second", yield* it.settle("b", success(2)), {
        granted: true,
        snapshot: {
          generation: atLeast(reopened.generation + 2),
          state: { _tag: "Closed" },
          hint: 0,
          openings: 2,
          why: { reason: "recovered" }
        }
      })
      yield* it.operate({ _tag: "HalfOpen" })
      const { generation } = (yield* it.ask("c", { probes: 20 })).snapshot
      yield* atOnce(19, (index) => it.ask(`at once ${index}`, { probes: 20 }))
      const settled = yield* atOnce(19, (index) => it.settle(`at once ${index}`, failure, { generation }))
      yield* is("how many of nineteen failures at once count", settled.filter(({ granted }) => granted).length, 1)
      yield* is("the circuit", yield* it.read, { state: { _tag: "Open" }, lifetime: { opened: 3 } })
    }
  ),

  law(
    "where a sample of probes decides, failures are counted for the fleet, and the last that is needed reopens",
    FENCED,
    function*({ circuit, unit }) {
      const it = circuit()
      const { snapshot: round } = yield* it.operate({ _tag: "HalfOpen" })
      for (const instance of ["a", "b", "c", "d"]) yield* it.ask(instance, { probes: 4 })
      yield* is("the first failure of two", yield* it.settle("a", secondFailure), {
        granted: true,
        snapshot: { generation: round.generation, state: { _tag: "HalfOpen", live: 3, successes: 0, failures: 1 } }
      })
      yield* is("a success then", yield* it.settle("b", success(2)), {
        granted: true,
        snapshot: { state: { _tag: "HalfOpen", live: 2, successes: 1, failures: 1 } }
      })
      const { snapshot: known } = yield* it.settle("c", IGNORED)
      yield* is("an ignored one then", known.state, { _tag: "HalfOpen", live: 1, successes: 1, failures: 1 })
      yield* is("the second failure", yield* it.settle("d", secondFailure), {
        granted: true,
        snapshot: { generation: atLeast(round.generation + 1), state: { _tag: "Open" }, lifetime: { opened: 1 } }
      })
      yield* it.operate({ _tag: "HalfOpen" })
      yield* is("the next round", (yield* it.read).state, { _tag: "HalfOpen", successes: 0, failures: undefined })
      const other = circuit("put back")
      yield* other.putBack({ ...known, generation: known.generation + 1 })
      yield* is("a round that was put back", (yield* other.read).state, { successes: 1, failures: 1 })
      yield* other.ask("a", { probes: 2 })
      yield* other.ask("b", { probes: 2 })
      const hinted = { ...failure, failures: 3, hint: 4 * unit }
      yield* is("a failure with a hint that does not reopen", yield* other.settle("a", hinted), {
        snapshot: { state: { _tag: "HalfOpen", live: 1, failures: 2, probesIn: near(4 * unit) } }
      })
      yield* is("another instance's Ask, then", yield* other.ask("c", { probes: 2 }), { granted: false })
      yield* is("one by the policy of an instance without a sample", yield* other.settle("b", failure), {
        granted: true,
        snapshot: { state: { _tag: "Open" } }
      })
    }
  ),

  law(
    "after an ignored probe with a hint no lease is granted before the hint is over, and none sooner for a failure since",
    FENCED,
    function*({ circuit, unit, wait }) {
      const all = ["waits", "fails", "closes"].map((label) => circuit(label))
      const [waits, fails, closes] = all as [Circuit, Circuit, Circuit]
      const hinted = { ...IGNORED, hint: 4 * unit }
      for (const it of all) {
        yield* it.operate({ _tag: "HalfOpen" })
        yield* it.ask("a", { probes: 2 })
        yield* it.ask("b", { probes: 2 })
        yield* is("an ignored one with a hint", yield* it.settle("a", hinted), {
          granted: true,
          snapshot: { state: { _tag: "HalfOpen", live: 1, successes: 0, probesIn: near(4 * unit) } }
        })
        yield* is("another instance's Ask", yield* it.ask("c", { probes: 3 }), {
          granted: false,
          snapshot: { state: { live: 1, probesIn: new Range(0, 4 * unit) } }
        })
      }
      const reopened = { ...failure, opening: { openFor: 1, maxOpenFor: HOUR } }
      yield* is("a probe that ran on, and fails", yield* fails.settle("b", reopened), {
        snapshot: { state: { _tag: "Open", remaining: new Range(unit, 4 * unit) } }
      })
      yield* is("a probe that ran on, and closes", yield* closes.settle("b", success()), {
        snapshot: { state: { _tag: "Closed" }, hint: 0 }
      })
      yield* closes.operate({ _tag: "HalfOpen" })
      yield* is("an Ask in the next round", yield* closes.ask("c"), { granted: true })
      const other = circuit("put back")
      const known = yield* waits.read
      yield* other.putBack({ ...known, generation: known.generation + 1 })
      yield* is("an Ask after the round was put back", yield* other.ask("c", { sequence: 2 }), {
        granted: false,
        snapshot: { state: { live: 0, probesIn: new Range(0, 4 * unit) } }
      })
      yield* wait(4 * unit)
      yield* is("the circuit once the hint is over", (yield* waits.read).state, { probesIn: undefined })
      yield* is("an Ask once the hint is over", yield* waits.ask("c", { sequence: 2, probes: 2 }), { granted: true })
      yield* is("where it was put back", yield* other.ask("c", { sequence: 3 }), { granted: true })
    },
    { timed: true }
  ),

  law(
    "a lease belongs to its generation, and an Ask from a newer generation is denied",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      const { snapshot: { generation } } = yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("a")
      const { snapshot: next } = yield* it.operate({ _tag: "HalfOpen" })
      yield* is("settled in its own", yield* it.settle("a", failure, { generation }), { granted: false })
      yield* is("settled in the next", yield* it.settle("a", failure), { granted: false })
      yield* is("an Ask from a newer generation", yield* it.ask("b", { generation: next.generation + 1 }), {
        granted: false
      })
      yield* unchanged("after these", yield* it.read, next)
      yield* is("an Ask from an older generation", yield* it.ask("b", { generation }), { granted: true })
    }
  ),

  law(
    "no lease is granted under an override, and setting one ends the leases that run",
    FENCED,
    function*({ circuit }) {
      for (const kind of ["ForcedOpen", "Disabled", "MetricsOnly"] as const) {
        const it = circuit(kind)
        yield* it.operate({ _tag: "HalfOpen" })
        const { snapshot: { generation } } = yield* it.ask("a")
        yield* it.operate({ _tag: "Override", ...FORCED, kind })
        yield* is(`the probe that ran, under ${kind}`, yield* it.settle("a", failure, { generation }), {
          granted: false,
          snapshot: { state: { _tag: "HalfOpen", live: 0 } }
        })
        yield* is(`another, under ${kind}`, yield* it.ask("b"), { granted: false })
        yield* it.operate({ _tag: "ClearOverride" })
        yield* is(`when ${kind} is cleared`, yield* it.ask("b", { sequence: 2 }), { granted: true })
      }
    }
  )
]
