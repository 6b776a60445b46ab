/** Laws of `change`: trips, operators' acts, and putting back records after a loss of data. */
import type { OperationTo } from "../core/Change.ts"
import { noCounts } from "../core/Delta.ts"
import { FORMAT, type Snapshot, type SnapshotOverride } from "../core/Record.ts"
import { atLeast, is, later, near, Range, SLACK_MILLIS, unchanged } from "./Claim.ts"
import {
  atOnce,
  author,
  type Definition,
  failed,
  failures,
  FENCED,
  FORCED,
  HOUR,
  law,
  MINUTE,
  NOTHING,
  reasonOf,
  success
} from "./Law.ts"

const METRICS: SnapshotOverride = { kind: "MetricsOnly", reason: "drill", actor: "ann" }

export const transitions: ReadonlyArray<Definition> = [
  law(
    "of concurrent trips exactly one is committed, and every answer shows it",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      const seen = yield* it.read
      const answers = yield* atOnce(20, () => it.trip(seen))
      const [winner, ...others] = answers.filter(({ committed }) => committed)
      yield* is("how many committed", others.length + (winner === undefined ? 0 : 1), 1)
      yield* is(
        "every answer",
        answers.map(({ snapshot }) => snapshot),
        answers.map(() => ({ generation: winner?.snapshot.generation, state: { _tag: "Open" } }))
      )
      yield* is("the circuit", yield* it.read, { openings: 1, lifetime: { opened: 1 } })
    }
  ),

  law(
    "a trip of another generation, or on a snapshot that is too old, is refused and changes nothing",
    FENCED,
    function*({ circuit, unit, wait }) {
      const it = circuit()
      yield* it.report(failures(5))
      const seen = yield* it.read
      yield* is("a trip of a newer generation", yield* it.trip({ ...seen, generation: 1 }), { committed: false })
      yield* wait(2 * unit)
      const refused = yield* it.trip(seen, { maxAge: unit })
      yield* is("a trip on an old snapshot", refused.committed, false)
      yield* unchanged("after both", refused.snapshot, seen)
      yield* is("the counts, after both", yield* it.read, failed(5))
      yield* is("a trip on a snapshot not too old", yield* it.trip(seen, { maxAge: HOUR }), { committed: true })
      yield* is("a trip on the snapshot from before it", yield* it.trip(seen), { committed: false })
    }
  ),

  law("an opening lasts as planned or as hinted, and begins without evidence", FENCED, function*({ circuit }) {
    const hints = [[0, MINUTE], [90_000, 80_000], [70_000, 70_000]] as const
    for (const [hint, lasts] of hints) {
      const it = circuit(`${hint}`)
      const { snapshot: seen } = yield* it.report(failures(5, hint))
      const planned = { openFor: MINUTE, maxOpenFor: 80_000 }
      const opened = yield* it.trip(seen, { opening: planned })
      yield* is(`the answer, with a hint of ${hint}`, opened, {
        committed: true,
        snapshot: {
          generation: atLeast(seen.generation + 1),
          state: { _tag: "Open", remaining: new Range(lasts - 1000, lasts) },
          elapsed: near(0),
          openings: 1,
          openFor: new Range(lasts - 1000, lasts),
          override: undefined,
          ...author,
          lifetime: { failure: 5, opened: 1, lastOpenedAge: near(0) },
          streak: 0,
          totals: []
        }
      })
      const after = yield* it.read
      yield* unchanged("the next read", after, opened.snapshot)
      yield* is("its window", after.totals, [noCounts])
    }
  }),

  law("a trip without an opening stays Closed and begins a new window", FENCED, function*({ circuit }) {
    const it = circuit()
    yield* it.operate({ _tag: "Override", ...METRICS })
    const { snapshot: seen } = yield* it.report(failures(5))
    yield* is("the first", yield* it.trip(seen, { opening: undefined }), { committed: true })
    yield* is("the second", yield* it.trip(seen, { opening: undefined }), { committed: false })
    yield* is("the circuit", yield* it.read, {
      ...NOTHING,
      generation: atLeast(seen.generation + 1),
      override: METRICS,
      ...author,
      lifetime: { failure: 5, opened: 0 },
      totals: [noCounts]
    })
  }),

  law(
    "only a Closed circuit trips, and without an opening only under metrics-only",
    FENCED,
    function*({ circuit }) {
      for (const state of ["Open", "HalfOpen"] as const) {
        const it = circuit(state)
        yield* it.open()
        if (state === "HalfOpen") yield* it.operate({ _tag: "HalfOpen" })
        const seen = yield* it.read
        for (const opening of [{ openFor: HOUR, maxOpenFor: HOUR }, undefined]) {
          const how = opening === undefined ? "without an opening" : "with one"
          yield* is(`a trip of ${state}, ${how}`, yield* it.trip(seen, { opening }), { committed: false })
        }
        yield* it.operate({ _tag: "Override", ...METRICS })
        const metrics = yield* it.trip(yield* it.read, { opening: undefined })
        yield* is(`a trip of ${state} under metrics-only`, metrics, {
          committed: false,
          snapshot: { state: { _tag: state } }
        })
      }
      const it = circuit("closed")
      const { snapshot: closed } = yield* it.report(failures(5))
      yield* is("a trip without an opening", yield* it.trip(closed, { opening: undefined }), { committed: false })
      yield* is("the evidence after it", yield* it.read, failed(5))
      yield* it.operate({ _tag: "Override", ...FORCED })
      const forced = yield* it.read
      yield* is("the same under another override", yield* it.trip(forced, { opening: undefined }), {
        committed: false
      })
    }
  ),

  law(
    "a new generation is above the record's, its author's and the storage's clock in microseconds",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      let last = (yield* it.open()).snapshot
      yield* is("after a trip", last.generation, atLeast(Math.max(1, (last.asOf - SLACK_MILLIS) * 1000)))
      const known = last.generation + 1e9
      const operations: ReadonlyArray<OperationTo> = [
        { _tag: "Reset" },
        { _tag: "Override", ...FORCED },
        { _tag: "ClearOverride" },
        { _tag: "HalfOpen" },
        { _tag: "Import", snapshot: { ...last, generation: 1 } },
        { _tag: "Remove" },
        { _tag: "Reset" }
      ]
      for (const to of operations) {
        const { snapshot } = yield* it.operate(to, to._tag === "HalfOpen" ? { known } : {})
        const least = Math.max(last.generation, to._tag === "HalfOpen" ? known : 0) + 1
        yield* is(`after ${to._tag}`, snapshot.generation, atLeast(least))
        yield* is(`whether it is a whole number, after ${to._tag}`, Number.isSafeInteger(snapshot.generation), true)
        yield* is(`as read after ${to._tag}`, (yield* it.read).generation, snapshot.generation)
        last = snapshot
      }
    }
  ),

  law("concurrent operations are all committed, each in a generation of its own", FENCED, function*({ circuit }) {
    const it = circuit()
    const answers = yield* atOnce(20, () => it.operate({ _tag: "Override", ...FORCED }))
    yield* is("how many committed", answers.filter(({ committed }) => committed).length, 20)
    const generations = answers.map(({ snapshot }) => snapshot.generation)
    yield* is("how many generations there were", new Set(generations).size, 20)
    yield* is("the last of them", (yield* it.read).generation, Math.max(...generations))
  }),

  law("an operation takes effect once, however often and late it arrives", FENCED, function*({ circuit }) {
    const it = circuit()
    const [set, clear] = [{ id: `set ${it.name}` }, { id: `clear ${it.name}` }]
    yield* is("the first", yield* it.operate({ _tag: "Override", ...FORCED }, set), { committed: true })
    yield* it.operate({ _tag: "ClearOverride" }, clear)
    const cleared = yield* it.read
    yield* is("the first, late", yield* it.operate({ _tag: "Override", ...FORCED }, set), { committed: true })
    yield* unchanged("after it", yield* it.read, cleared)
    yield* atOnce(10, () => it.operate({ _tag: "Reset" }, { id: "reset" }))
    const { snapshot } = yield* it.operate({ _tag: "Reset" }, { id: "reset" })
    yield* unchanged("the same ten times at once, and again", yield* it.read, snapshot)
  }),

  law(
    "an operation on an existing circuit is denied where there is none, and then leaves nothing behind",
    FENCED,
    function*({ circuit }) {
      const it = circuit("absent")
      const operations: ReadonlyArray<OperationTo> = [
        { _tag: "Override", ...FORCED },
        { _tag: "ClearOverride" },
        { _tag: "Reset" },
        { _tag: "HalfOpen" }
      ]
      for (const to of operations) {
        yield* is(`${to._tag} of none`, yield* reasonOf(it.operate(to, { existing: true })), "Denied")
      }
      yield* is("the circuit after these", yield* it.read, { ...NOTHING, generation: 0 })
      yield* is("one that is to be created", yield* it.operate({ _tag: "Override", ...FORCED }), { committed: true })
      yield* is("the next", yield* it.operate({ _tag: "ClearOverride" }, { existing: true }), { committed: true })
      const used = circuit("used")
      yield* used.report(failures(1))
      yield* is("one of a circuit that was used", yield* used.operate({ _tag: "HalfOpen" }, { existing: true }), {
        committed: true
      })
    }
  ),

  law(
    "an override leaves the state below it as it is, until it expires or is cleared",
    FENCED,
    function*({ circuit, unit, wait }) {
      for (const kind of ["ForcedOpen", "Disabled", "MetricsOnly"] as const) {
        const it = circuit(kind)
        const { snapshot: before } = yield* it.open()
        yield* it.report(failures(2))
        const override = { kind, reason: "it's \"down\" 🦆\n\\ {} %s", actor: "ann; --", remaining: 4 * unit }
        const { committed, snapshot } = yield* it.operate({ _tag: "Override", ...override })
        yield* is(`whether ${kind} committed`, committed, true)
        yield* is(`under ${kind}`, snapshot, {
          ...later(before, snapshot.asOf),
          generation: atLeast(before.generation + 1),
          override: { ...override, remaining: near(4 * unit) },
          lifetime: { failure: 2, opened: 1 },
          streak: 0
        })
        yield* wait(4 * unit)
        yield* is(`${kind}, expired`, yield* it.read, {
          generation: snapshot.generation,
          override: undefined,
          state: { _tag: "Open" }
        })
      }
      const it = circuit("for ever")
      yield* it.operate({ _tag: "Override", ...FORCED })
      yield* is("one without an end", yield* it.read, { override: { ...FORCED, remaining: undefined } })
      yield* it.operate({ _tag: "ClearOverride" })
      yield* is("it, cleared", yield* it.read, { override: undefined, state: { _tag: "Closed" } })
    }
  ),

  law("a reset keeps only the lifetime counts and an override", FENCED, function*({ circuit }) {
    const it = circuit()
    const { snapshot: opened } = yield* it.open()
    yield* it.operate({ _tag: "Override", ...FORCED })
    yield* it.report(failures(3, MINUTE))
    yield* it.operate({ _tag: "Reset" })
    yield* is("the circuit", yield* it.read, {
      ...NOTHING,
      generation: atLeast(opened.generation + 2),
      elapsed: atLeast(0),
      override: FORCED,
      why: { reason: "Reset by hand", actor: "ann" },
      fingerprint: author.fingerprint,
      lifetime: { failure: 3, opened: 1 },
      totals: [noCounts]
    })
  }),

  law("a circuit that an operator made half-open grants leases at once", FENCED, function*({ circuit }) {
    for (const [from, it] of [["Closed", circuit("closed")], ["Open", circuit("open")]] as const) {
      if (from === "Open") yield* it.open()
      yield* it.operate({ _tag: "HalfOpen" })
      yield* is(`a probe, from ${from}`, yield* it.ask("a"), { granted: true })
    }
  }),

  law(
    "a removed circuit is Closed, and no earlier snapshot or trip brings it back",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      yield* it.report(failures(3))
      const { snapshot: known } = yield* it.open()
      yield* it.operate({ _tag: "Override", ...FORCED })
      const { snapshot: removed } = yield* it.operate({ _tag: "Remove" })
      yield* is("the circuit", removed, {
        ...NOTHING,
        generation: atLeast(known.generation + 2),
        elapsed: near(0),
        why: { reason: "Remove by hand", actor: "ann" }
      })
      yield* is("putting it back", yield* it.putBack(known), { committed: false })
      yield* is("a late trip", yield* it.trip(known), { committed: false })
      yield* unchanged("after both", yield* it.read, removed)
    }
  ),

  law("an import takes over the exported snapshot in a generation of its own", FENCED, function*({ circuit }) {
    const source = circuit("source")
    const { snapshot: opened } = yield* source.open()
    const it = circuit("it")
    yield* it.report(failures(2))
    const { snapshot: open } = yield* it.operate({ _tag: "Import", snapshot: opened })
    yield* is("an Open", open, {
      state: { _tag: "Open", remaining: near(MINUTE) },
      openings: 1,
      openFor: near(MINUTE),
      why: author.why,
      streak: 0,
      lifetime: { failure: 2, opened: 1 }
    })
    yield* source.operate({ _tag: "HalfOpen" })
    yield* source.ask("holder")
    const { snapshot } = yield* it.operate({ _tag: "Import", snapshot: yield* source.read })
    yield* is("a HalfOpen", snapshot, {
      state: { _tag: "HalfOpen", live: 0 },
      generation: atLeast(open.generation + 1)
    })
    yield* is("a probe of it", yield* it.ask("a"), { granted: true })
  })
]

export const losses: ReadonlyArray<Definition> = [
  law(
    "a lost record is put back unchanged under its own generation, and only over a lower one",
    FENCED,
    function*({ circuit, idleTimeToLive }) {
      const source = circuit("source")
      const five = failures(5, MINUTE)
      yield* source.report({ ...five, lifetime: { ...five.lifetime, lastFailureDuration: 7 } })
      yield* source.open()
      const { snapshot: known } = yield* source.operate({ _tag: "Override", ...FORCED, remaining: HOUR })
      const lost = circuit("lost")
      yield* lost.report(failures(2))
      const late = { instance: "late", sequence: 1, generation: known.generation, delta: failures(4) }
      yield* is("its report, before the put-back", yield* lost.send(late), {
        reported: "Behind",
        snapshot: { streak: 2 }
      })
      const { committed, snapshot: restored } = yield* lost.putBack(known, { age: 10_000 })
      yield* is("whether it was put back", committed, true)
      yield* is("the circuit", { ...restored, asOf: 0 }, {
        ...later({ ...known, asOf: -10_000 }, 0),
        lifetime: {
          failure: 5,
          opened: 1,
          // The two failures were reported to this storage a few moments ago.
          lastFailureAge: new Range(0, 5000),
          lastFailureDuration: undefined,
          lastOpenedAge: near(10_000 + known.lifetime.lastOpenedAge!)
        }
      })
      yield* is("the same again", yield* lost.putBack(known), { committed: false })
      yield* is("an older one", yield* lost.putBack({ ...known, generation: known.generation - 1 }), {
        committed: false
      })
      yield* is(
        "one of a newer format",
        yield* lost.putBack({
          ...known,
          format: FORMAT + 1,
          generation: known.generation + 1
        }),
        { committed: false }
      )
      yield* is(
        "one confirmed longer ago than the idle time",
        yield* circuit("idle").putBack(known, {
          age: idleTimeToLive + 1000
        }),
        { committed: false, snapshot: NOTHING }
      )
      yield* unchanged("after these", yield* lost.read, restored)
      yield* is("its report, after the put-back", yield* lost.send(late), {
        reported: "Counted",
        snapshot: { streak: 4, totals: [{ failure: 4 }] }
      })
    }
  ),

  law("a half-open round is put back with its successes and its holders' leases", FENCED, function*({ circuit }) {
    const source = circuit("source")
    yield* source.operate({ _tag: "HalfOpen" })
    yield* source.ask("a")
    yield* source.settle("a", success(3))
    yield* source.ask("a", { sequence: 2 })
    const known = yield* source.read
    const it = circuit("lost")
    const leases = [{ instance: "a", sequence: 2, remaining: MINUTE }]
    yield* is("the circuit", yield* it.putBack(known, { leases }), {
      committed: true,
      snapshot: {
        generation: known.generation,
        state: { _tag: "HalfOpen", live: 1, successes: 1, nextLapse: near(MINUTE) }
      }
    })
    yield* is("another instance's probe", yield* it.ask("b"), { granted: false })
    yield* is("the holder's", yield* it.settle("a", success(2), { sequence: 2 }), {
      granted: true,
      snapshot: { state: { _tag: "Closed" } }
    })
  }),

  law(
    "a Closed snapshot that is put back leaves an Open whose time runs, under a generation above both",
    FENCED,
    function*({ circuit, unit, wait }) {
      const it = circuit()
      const { snapshot: opened } = yield* it.open({ openFor: 6 * unit })
      const known: Snapshot = {
        ...(yield* circuit("never").read),
        generation: opened.generation + 1_000_000,
        override: FORCED
      }
      const stamped = yield* it.putBack(known)
      yield* is("while its time runs", stamped, {
        committed: false,
        snapshot: {
          ...later(opened, stamped.snapshot.asOf),
          generation: atLeast(known.generation + 1),
          override: FORCED
        }
      })
      yield* is("the same again", yield* it.putBack(known), {
        committed: false,
        snapshot: { generation: stamped.snapshot.generation }
      })
      yield* wait(6 * unit)
      const newer = { ...known, generation: stamped.snapshot.generation + 1 }
      yield* is("after its time", yield* it.putBack(newer), {
        committed: true,
        snapshot: { generation: newer.generation, state: { _tag: "Closed" } }
      })
    }
  ),

  law(
    "a certain Closed snapshot that is put back replaces any Open, under its own generation",
    FENCED,
    function*({ circuit }) {
      const it = circuit()
      const { snapshot: opened } = yield* it.open()
      const known: Snapshot = { ...(yield* circuit("never").read), generation: opened.generation + 1_000_000 }
      yield* is("putting it back", yield* it.putBack(known, { certain: true }), {
        committed: true,
        snapshot: { generation: known.generation, state: { _tag: "Closed" } }
      })
      yield* is("an older one", yield* it.putBack(opened, { certain: true }), { committed: false })
    }
  )
]
