/** Laws of records: they are kept whole, as they were written, and as long as they are needed. */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { FORMAT, type Snapshot } from "../core/Record.ts"
import type { StorageError } from "../Storage/Storage.ts"
import { is, isObject, later, show, unchanged, type Unmet } from "./Claim.ts"
import {
  atOnce,
  type Circuit,
  type Definition,
  failed,
  failure,
  failures,
  FENCED,
  FORCED,
  HOUR,
  law,
  MINUTE,
  NOTHING,
  reading,
  reasonOf,
  success
} from "./Law.ts"

/** States with data of their own to store. Each entry brings a circuit there and returns the last answer about it. */
const states: ReadonlyArray<
  readonly [name: string, reach: (it: Circuit) => Effect.Effect<Snapshot, Unmet | StorageError>]
> = [
  ["reported", (it) => Effect.map(it.report(failures(3, MINUTE)), ({ snapshot }) => snapshot)],
  ["Open", (it) =>
    Effect.gen(function*() {
      const why = {
        reason: "\"5\" '%' failures\n\\u0000 🦆 e\u0301 \u2028",
        evidence: { "a.b": [1.5, null, { $c: "{}" }], n: -1e-7 }
      }
      const { snapshot } = yield* it.report(failures(5, 2 * MINUTE))
      return (yield* it.trip(snapshot, { why, fingerprint: "f".repeat(1000) })).snapshot
    })],
  ["HalfOpen", (it) =>
    Effect.gen(function*() {
      yield* it.open()
      yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("'; drop table leases; --")
      yield* it.settle("'; drop table leases; --", success(3))
      yield* it.ask("{a}:*", { duration: HOUR, sequence: 2 ** 40, probes: 2 })
      return (yield* it.ask("b", { probes: 2 })).snapshot
    })],
  ["closed again", (it) =>
    Effect.gen(function*() {
      yield* it.open()
      yield* it.operate({ _tag: "HalfOpen" })
      yield* it.ask("a")
      yield* it.settle("a", success())
      return (yield* it.report(failures(1))).snapshot
    })],
  ...(["ForcedOpen", "Disabled", "MetricsOnly"] as const).map((kind) =>
    [kind, (it: Circuit) =>
      Effect.map(
        it.operate({ _tag: "Override", kind, reason: "🦆 'it''s' {}", actor: "ann\n", remaining: HOUR + 0.5 }),
        ({ snapshot }) => snapshot
      )] as const
  ),
  ["forced for ever", (it) => Effect.map(it.operate({ _tag: "Override", ...FORCED }), ({ snapshot }) => snapshot)]
]

export const records: ReadonlyArray<Definition> = [
  law("every state is read as it was written", FENCED, function*({ circuit }) {
    for (const [name, reach] of states) {
      const it = circuit(name)
      const seen = yield* reach(it)
      yield* unchanged(name, yield* it.read, seen)
    }
  }),

  law("a written record outlives the storage that wrote it", { durable: true }, function*({ another, circuit }) {
    const written = yield* Effect.scoped(Effect.gen(function*() {
      const writer = yield* another
      return yield* Effect.forEach(states, ([name, reach]) => reach(circuit(name, writer)))
    }))
    const reader = yield* another
    for (const [index, [name]] of states.entries()) {
      yield* unchanged(name, yield* circuit(name, reader).read, written[index]!)
    }
  }),

  law(
    "two storages that share their data see, count and lease as one",
    { shared: true },
    function*({ another, circuit, unit, wait }) {
      const other = yield* another
      const [here, there] = [circuit(), circuit("", other)]
      yield* atOnce(
        100,
        (index) => [here, there][index % 2]!.send({ instance: `${index}`, sequence: 1, delta: failures(1) })
      )
      const seen = yield* here.read
      yield* is("a hundred concurrent reports, half of them through the other", yield* there.read, failed(100))
      const trips = yield* atOnce(
        20,
        (index) => [here, there][index % 2]!.trip(seen, { opening: { openFor: unit, maxOpenFor: unit } })
      )
      yield* is("how many of twenty trips at once committed", trips.filter(({ committed }) => committed).length, 1)
      yield* unchanged("the circuit, read by the other", yield* there.read, yield* here.read)
      yield* wait(unit)
      const { generation } = yield* there.read
      const asks = yield* atOnce(20, (index) => [here, there][index % 2]!.ask(`${index}`, { generation, probes: 3 }))
      yield* is("how many of twenty probes at once were granted", asks.filter(({ granted }) => granted).length, 3)
    }
  )
]

export const expiry: ReadonlyArray<Definition> = [
  law(
    "a circuit is forgotten after the idle time without use; reads and refused requests are not use",
    FENCED,
    function*({ circuit, idleTimeToLive, wait }) {
      const [idle, used] = [circuit("idle"), circuit("used")]
      const { snapshot: seen } = yield* idle.report(failures(1))
      yield* used.report(failures(1))
      for (const third of ["first", "second"]) {
        yield* wait(idleTimeToLive / 3)
        yield* used.report(failures(1))
        yield* is(`the idle one, after the ${third} third`, yield* idle.read, { lifetime: { failure: 1 } })
        yield* idle.ask("b")
        yield* idle.trip(seen, { generation: 1 })
        yield* idle.settle("b", failure)
      }
      yield* wait(idleTimeToLive / 3)
      yield* is("the idle one", yield* idle.read, NOTHING)
      yield* is("the one in use", yield* used.read, { lifetime: { failure: 3 } })
      yield* is("a new life of the idle one", yield* idle.report(failures(1), { sequence: 1 }), { snapshot: failed(1) })
    },
    { idleUnits: 10, timed: true }
  ),

  law(
    "no circuit is forgotten while an open time, an override, a lease or the backoff runs",
    FENCED,
    function*({ circuit, idleTimeToLive, unit, wait }) {
      const [opened, backoff, forced, bounded, leased] = [
        circuit("opened"),
        circuit("backoff"),
        circuit("forced"),
        circuit("bounded"),
        circuit("leased")
      ]
      const long = 2 * idleTimeToLive
      const { snapshot: open } = yield* opened.open({ openFor: long })
      yield* backoff.open({ openFor: long })
      yield* backoff.operate({ _tag: "HalfOpen" })
      yield* backoff.ask("a")
      const { snapshot: closed } = yield* backoff.settle("a", success())
      const { snapshot: kept } = yield* forced.operate({ _tag: "Override", ...FORCED })
      const { snapshot: overridden } = yield* bounded.operate({ _tag: "Override", ...FORCED, remaining: long })
      yield* leased.operate({ _tag: "HalfOpen" })
      const { snapshot: lease } = yield* leased.ask("a", { duration: long })
      yield* wait(1.5 * idleTimeToLive)
      yield* unchanged("an Open", yield* opened.read, open)
      yield* unchanged("a Closed that was open for long", yield* backoff.read, closed)
      yield* unchanged("an override without an end", yield* forced.read, kept)
      yield* unchanged("an override with one", yield* bounded.read, overridden)
      yield* unchanged("a lease", yield* leased.read, lease)
      yield* wait(0.5 * idleTimeToLive + unit)
      yield* is("the Open, when its time is over", yield* opened.ask("a"), { granted: true })
      yield* is("an override with an end, then", yield* bounded.read, NOTHING)
      yield* is("a lease, then", yield* leased.read, NOTHING)
      yield* unchanged("an override without an end, then", yield* forced.read, kept)
    },
    { idleUnits: 10, timed: true }
  )
]

export const formats: ReadonlyArray<Definition> = [
  law(
    "a record of a newer format is read and obeyed, but never written",
    FENCED,
    function*({ circuit, rewrite, storage }) {
      const it = circuit()
      yield* it.report(failures(1))
      const { snapshot: opened } = yield* it.open()
      let newer: unknown
      yield* rewrite(it, (record) => newer = { ...record, format: FORMAT + 1, colour: "blue" })
      const before = yield* it.read
      yield* is("the read", before, { ...later(opened, before.asOf), format: FORMAT + 1 })
      yield* is("a report", yield* it.report(failures(1)), { reported: "Refused" })
      yield* is("a trip", yield* it.trip(before), { committed: false })
      yield* is("an operation", yield* reasonOf(it.operate({ _tag: "Reset" })), "Denied")
      yield* is("a put-back", yield* it.putBack({ ...opened, generation: before.generation + 1 }), { committed: false })
      yield* is("a probe", yield* it.ask("a"), { granted: false })
      yield* unchanged("after these", yield* it.read, before)
      let found: unknown
      yield* rewrite(it, (record) => found = record)
      yield* is("the stored record", found, newer)
      yield* is("whether it is listed", (yield* Stream.runCollect(storage.list)).includes(it.name), true)
    },
    { hooks: ["rewrite"] }
  ),

  law("unknown fields of a record are kept", FENCED, function*({ circuit, rewrite }) {
    const it = circuit()
    yield* it.report(failures(1))
    yield* rewrite(it, (record) => ({ ...record, colour: "blue" }))
    yield* it.report(failures(1))
    const { snapshot: opened } = yield* it.open()
    yield* it.operate({ _tag: "Override", ...FORCED })
    yield* it.operate({ _tag: "Reset" })
    yield* it.operate({ _tag: "HalfOpen" })
    yield* it.operate({ _tag: "ClearOverride" })
    yield* it.ask("a")
    yield* it.settle("a", success())
    yield* it.putBack({ ...opened, generation: (yield* it.read).generation + 1 })
    let found: unknown
    yield* rewrite(it, (record) => found = record)
    yield* is("the stored record", found, { colour: "blue", lifetime: { failure: 2, opened: 1 } })
  }, { hooks: ["rewrite"] }),

  law(
    "a damaged record is an error, not an absent circuit",
    FENCED,
    function*({ circuit, rewrite, storage }) {
      for (const damaged of ["not a record", { format: FORMAT }, { generation: "1" }]) {
        const it = circuit(show(damaged))
        const { snapshot: opened } = yield* it.open()
        yield* rewrite(
          it,
          (record) => isObject(damaged) && "generation" in damaged ? { ...record, ...damaged } : damaged
        )
        const operations = {
          sync: it.read,
          report: it.send({ sequence: 1, delta: failures(1) }),
          trip: it.trip(opened),
          operate: it.operate({ _tag: "Override", ...FORCED })
        }
        for (const [name, operation] of Object.entries(operations)) {
          yield* is(`${name} of the stored record ${show(damaged)}`, yield* reasonOf(operation), "Invalid")
        }
        const [first, second] = yield* storage.sync([it.name, circuit("good").name].map((name) => reading(name, "a")))
        yield* is(
          "it and a good one in one batch",
          [first, second].map((answer) => answer !== undefined && Result.isSuccess(answer.result)),
          [false, true]
        )
      }
    },
    { hooks: ["rewrite"] }
  )
]
