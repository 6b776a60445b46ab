/**
 * Storages that break a law, by the law's name: memory or a table of texts, with a defect. A storage may break other
 * laws, too.
 */
import { Effect, Layer, Option, Result, Semaphore, Stream } from "effect"
import { TestClock } from "effect/testing"
import type { Operation, OperationTo, PutBack, Trip } from "../../src/core/Change.ts"
import { isEmpty } from "../../src/core/Delta.ts"
import type { Ask, Settle } from "../../src/core/Lease.ts"
import type * as Conformance from "../../src/Storage/Conformance.ts"
import * as MemoryStorage from "../../src/Storage/Memory.ts"
import { type Capabilities, type CircuitReport, type Snapshot, Storage } from "../../src/Storage/Storage.ts"
import * as Table from "./table.ts"

type Params = Conformance.Params

const capabilities: Capabilities = {
  shared: false,
  durable: false,
  pushes: true,
  history: true,
  fences: true,
  bells: true
}

/** Memory without a defect. */
export const memory: Params = {
  capabilities,
  layer: (options) => Layer.effect(Storage, MemoryStorage.make(options)),
  advance: TestClock.adjust,
  maxBlocking: "100 millis"
}

const but = (f: (storage: Storage) => Storage | Effect.Effect<Storage>, of: Params = memory): Params => ({
  ...of,
  layer: (options) =>
    Layer.effect(
      Storage,
      Effect.flatMap(Storage, (storage) => {
        const broken = f(storage)
        return Effect.isEffect(broken) ? broken : Effect.succeed(broken)
      })
    ).pipe(Layer.provide(of.layer(options)))
})

/** Memory that declares capabilities that it does not have. */
const declared = (false_: Partial<Capabilities>): Params => ({
  ...but((storage) => ({ ...storage, capabilities: { ...capabilities, ...false_ } })),
  capabilities: { ...capabilities, ...false_ }
})

const reports = (f: (report: CircuitReport) => CircuitReport): Params =>
  but((storage) => ({ ...storage, sync: (reports) => storage.sync(reports.map(f)) }))

const trips = (f: (trip: Trip) => Trip): Params =>
  but((storage) => ({
    ...storage,
    change: (circuit, change) => storage.change(circuit, change._tag === "Trip" ? f(change) : change)
  }))

const operations = (f: (operation: Operation) => Operation, of = memory): Params =>
  but((storage) => ({
    ...storage,
    change: (circuit, change) => storage.change(circuit, change._tag === "Operation" ? f(change) : change)
  }), of)

const does = (tag: OperationTo["_tag"], to: OperationTo): Params =>
  operations((operation) => operation.to._tag === tag ? { ...operation, to } : operation)

const putsBack = (f: (putBack: PutBack) => PutBack | Operation): Params =>
  but((storage) => ({
    ...storage,
    change: (circuit, change) => storage.change(circuit, change._tag === "PutBack" ? f(change) : change)
  }))

const asks = (f: (ask: Ask, circuit: string, storage: Storage) => ReturnType<Storage["probe"]>): Params =>
  but((storage) => ({
    ...storage,
    probe: (circuit, probe) => probe._tag === "Ask" ? f(probe, circuit, storage) : storage.probe(circuit, probe)
  }))

const settles = (f: (settle: Settle) => Settle): Params =>
  but((storage) => ({
    ...storage,
    probe: (circuit, probe) => storage.probe(circuit, probe._tag === "Settle" ? { ...probe, ...f(probe) } : probe)
  }))

/** Memory whose `sync` returns changed snapshots. */
const reads = (f: (snapshot: Snapshot) => Snapshot): Params =>
  but((storage) => ({
    ...storage,
    sync: (reports) =>
      Effect.map(storage.sync(reports), (answers) =>
        answers.map(({ circuit, result }) => ({
          circuit,
          result: Result.map(result, (synced) => ({ ...synced, snapshot: f(synced.snapshot) }))
        })))
  }))

/** Memory that does everything for another circuit than the given one. */
const named = (f: (circuit: string) => string): Params =>
  but((storage) => ({
    ...storage,
    sync: (reports) =>
      Effect.map(
        storage.sync(reports.map((report) => ({ ...report, circuit: f(report.circuit) }))),
        (answers) => answers.map(({ result }, index) => ({ result, circuit: reports[index]!.circuit }))
      ),
    change: (circuit, change) => storage.change(f(circuit), change),
    probe: (circuit, probe) => storage.probe(f(circuit), probe),
    history: (circuit, options) => storage.history(f(circuit), options)
  }))

const generationOf = (storage: Storage, circuit: string) =>
  storage.sync([{
    circuit,
    instance: "",
    sequence: 0,
    generation: 0,
    delta: { buckets: [], streak: { leading: 0, sawSuccess: false, trailing: 0 }, lifetime: none, hint: 0 },
    withins: []
  }]).pipe(
    Effect.map(([answer]) =>
      Option.getOrThrow(Option.flatMap(Option.fromNullishOr(answer), ({ result }) => Result.getSuccess(result)))
        .snapshot.generation
    )
  )

const none = { success: 0, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0 }

let counter = 0
const byHand = (to: OperationTo): Operation => ({
  _tag: "Operation",
  id: `broken ${++counter}`,
  known: 0,
  why: { reason: "broken" },
  to
})

const busy = (millis: number) => {
  const until = performance.now() + millis
  while (performance.now() < until);
}

export const broken: Record<string, Params> = {
  "the storage has the declared capabilities and idle time": {
    ...memory,
    capabilities: { ...capabilities, shared: true }
  },
  "a circuit that was never written is Closed at generation 0, and reading it creates nothing": reports((report) =>
    isEmpty(report.delta)
      ? { ...report, delta: { ...report.delta, lifetime: { ...none, rejected: 1 } } }
      : report
  ),
  "a batch is answered in its order, with one answer per report": but((storage) => ({
    ...storage,
    sync: (reports) => Effect.map(storage.sync(reports), (answers) => answers.toReversed())
  })),
  "asOf is in milliseconds": reads((snapshot) => ({ ...snapshot, asOf: snapshot.asOf / 1000 })),

  "a report is counted once per circuit, instance and sequence, however often and late it arrives": reports((
    report
  ) => ({
    ...report,
    sequence: ++counter
  })),
  "every part of a report is added up": reports((report) => ({ ...report, delta: { ...report.delta, hint: 0 } })),
  "counts are dated by their age, kept per bucket width, and leave the window in time": reports((report) => ({
    ...report,
    delta: { ...report.delta, buckets: report.delta.buckets.map((bucket) => ({ ...bucket, age: 0 })) }
  })),
  "calls that were shed are counted beside the outcomes, once each, and leave the window in time": reports((
    report
  ) => ({
    ...report,
    delta: { ...report.delta, buckets: report.delta.buckets.map(({ shed: _, ...bucket }) => bucket) }
  })),
  "a short span beside a long one counts as exactly as alone": reports((report) => ({
    ...report,
    withins: report.withins.map(() => Math.max(...report.withins))
  })),
  "a report that arrives late is as old as it is, and is refused beyond half the idle time": reports((report) => ({
    ...report,
    asOf: undefined
  })),
  "a report of an older generation enters only the lifetime counts, one of a newer generation nothing": but(
    (storage) => ({
      ...storage,
      sync: (reports) =>
        Effect.map(
          Effect.forEach(reports, (report) =>
            Effect.flatMap(generationOf(storage, report.circuit), (generation) =>
              storage.sync([{ ...report, generation }]))),
          (answers) =>
            answers.flat()
        )
    })
  ),
  "a hundred concurrent reports count exactly a hundred": Table.withoutCompareAndSet,

  "of concurrent trips exactly one is committed, and every answer shows it": but((storage) => ({
    ...storage,
    change: (circuit, change) =>
      change._tag !== "Trip" ? storage.change(circuit, change) : Effect.flatMap(
        storage.change(circuit, byHand({ _tag: "Reset" })),
        ({ snapshot: { generation } }) => storage.change(circuit, { ...change, generation })
      )
  })),
  "a trip of another generation, or on a snapshot that is too old, is refused and changes nothing": trips((trip) => ({
    ...trip,
    maxAge: Infinity
  })),
  "an opening lasts as planned or as hinted, and begins without evidence": trips((trip) => ({
    ...trip,
    opening: trip.opening && { ...trip.opening, maxOpenFor: trip.opening.openFor }
  })),
  "a trip without an opening stays Closed and begins a new window": trips((trip) => ({
    ...trip,
    opening: trip.opening ?? { openFor: 1000, maxOpenFor: 1000 }
  })),
  "only a Closed circuit trips, and without an opening only under metrics-only": but((storage) => ({
    ...storage,
    change: (circuit, change) =>
      storage.change(
        circuit,
        change._tag === "Trip" && change.opening === undefined ? byHand({ _tag: "Reset" }) : change
      )
  })),
  "an operation on an existing circuit is denied where there is none, and then leaves nothing behind": operations((
    operation
  ) => ({ ...operation, existing: false })),
  "a new generation is above the record's, its author's and the storage's clock in microseconds": operations(
    (operation) => ({ ...operation, known: 0 })
  ),
  "concurrent operations are all committed, each in a generation of its own": Table.withoutCompareAndSet,
  "an operation takes effect once, however often and late it arrives": operations((operation) => ({
    ...operation,
    id: `${++counter}`
  })),
  "an override leaves the state below it as it is, until it expires or is cleared": operations((operation) =>
    operation.to._tag === "Override"
      ? { ...operation, to: { ...operation.to, remaining: undefined } }
      : operation
  ),
  "a reset keeps only the lifetime counts and an override": does("Reset", { _tag: "Remove" }),
  "a circuit that an operator made half-open grants leases at once": does("HalfOpen", { _tag: "Reset" }),
  "a removed circuit is Closed, and no earlier snapshot or trip brings it back": Table.deletesOnRemove,
  "an import takes over the exported snapshot in a generation of its own": does("Import", { _tag: "Reset" }),

  "a lost record is put back unchanged under its own generation, and only over a lower one": putsBack((putBack) => ({
    ...putBack,
    age: 0
  })),
  "a half-open round is put back with its successes and its holders' leases": putsBack((putBack) => ({
    ...putBack,
    leases: []
  })),
  "a Closed snapshot that is put back leaves an Open whose time runs, under a generation above both": putsBack(
    ({ snapshot }) => ({ ...byHand({ _tag: "Import", snapshot }), known: snapshot.generation })
  ),
  "a certain Closed snapshot that is put back replaces any Open, under its own generation": putsBack((putBack) => ({
    ...putBack,
    certain: false
  })),

  "no lease is granted while the circuit is Closed or its open time runs; afterwards the first Ask begins the round":
    asks((ask, circuit, storage) =>
      Effect.andThen(
        storage.change(circuit, byHand({ _tag: "HalfOpen" })),
        storage.probe(circuit, { _tag: "Ask", ...ask })
      )
    ),
  "of concurrent Asks, as many are granted as the policy has probes, all in one round": asks((
    ask,
    circuit,
    storage
  ) => storage.probe(circuit, { _tag: "Ask", ...ask, probes: Infinity })),
  "an Ask repeated under the same name grants one lease and does not extend it": asks((ask, circuit, storage) =>
    storage.probe(circuit, { _tag: "Ask", ...ask, lease: { ...ask.lease, sequence: ++counter } })
  ),
  "a lease that lapsed frees its place, and is settled like any other in its generation": asks((
    ask,
    circuit,
    storage
  ) => storage.probe(circuit, { _tag: "Ask", ...ask, duration: 60 * ask.duration })),
  "of the leases that lapsed, the newest 60 are kept": Table.forgetsLapsedLeases,
  "a lease is settled once, and a late Ask does not bring it back": asks((ask, circuit, storage) =>
    Effect.flatMap(storage.probe(circuit, { _tag: "Ask", ...ask }), (answer) =>
      answer.granted
        ? Effect.succeed(answer)
        : storage.probe(circuit, { _tag: "Ask", ...ask, lease: { ...ask.lease, sequence: ++counter } }))
  ),
  "the last success closes, a failure reopens, an ignored probe only frees its lease": settles((settle) =>
    settle.outcome._tag === "Success" ? { ...settle, outcome: { ...settle.outcome, successes: 1 } } : settle
  ),
  "where a sample of probes decides, failures are counted for the fleet, and the last that is needed reopens": settles((
    settle
  ) => settle.outcome._tag === "Failure" ? { ...settle, outcome: { ...settle.outcome, failures: 1 } } : settle),
  "after an ignored probe with a hint no lease is granted before the hint is over, and none sooner for a failure since":
    settles((settle) => settle.outcome._tag === "Ignored" ? { ...settle, outcome: { _tag: "Ignored" } } : settle),
  "a change rings, and so does an alert; a report that suspects nothing rings nothing": reports((report) => ({
    ...report,
    suspect: 60_000
  })),
  "an alert begins with a suspicion, is made longer by the next, and ends by itself or with its generation": reports(
    ({ suspect: _, ...report }) => report
  ),
  "an alert is announced once": but((storage) => ({
    ...storage,
    changes: Stream.filter(storage.changes, (one) => one._tag === "Subscribed" || one.alert === undefined)
  })),
  "a lease belongs to its generation, and an Ask from a newer generation is denied": asks((ask, circuit, storage) =>
    storage.probe(circuit, { _tag: "Ask", ...ask, generation: 0 })
  ),
  "no lease is granted under an override, and setting one ends the leases that run": asks((ask, circuit, storage) =>
    Effect.andThen(
      storage.change(circuit, byHand({ _tag: "ClearOverride" })),
      storage.probe(circuit, { _tag: "Ask", ...ask })
    )
  ),

  "every state is read as it was written": reads(({ why, ...snapshot }) =>
    why === undefined ? snapshot : { ...snapshot, why: { ...why, evidence: undefined } }
  ),
  "a written record outlives the storage that wrote it": declared({ durable: true }),
  "two storages that share their data see, count and lease as one": declared({ shared: true }),

  "every well-formed text is a circuit's name, distinct from all others": named((circuit) => circuit.normalize()),
  "a name that is not well-formed is Invalid, and does not fail its batch": named((circuit) => circuit.toWellFormed()),

  "a circuit is forgotten after the idle time without use; reads and refused requests are not use": reports((report) =>
    isEmpty(report.delta)
      ? {
        ...report,
        instance: "reader",
        sequence: ++counter,
        delta: { ...report.delta, lifetime: { ...none, rejected: 1 } }
      }
      : report
  ),
  "no circuit is forgotten while an open time, an override, a lease or the backoff runs": Table.deletesWhenIdle,

  "list returns the name of every circuit with a record, and no other of this run": but((storage) => ({
    ...storage,
    list: Stream.flatMap(storage.list, (name) => Stream.fromIterable(name.split("\n")))
  })),
  "a circuit with a reserved name is kept, but not listed": but((storage) => {
    const own = new Set<string>()
    return {
      ...storage,
      sync: (reports) => {
        for (const { circuit } of reports) if (circuit.startsWith("__effect_breaker/")) own.add(circuit)
        return storage.sync(reports)
      },
      list: Stream.concat(storage.list, Stream.suspend(() => Stream.fromIterable(own)))
    }
  }),
  "the history has every change, newest first, with its author and cause": but((storage) => ({
    ...storage,
    history: (circuit, options) => Effect.map(storage.history(circuit, options), (entries) => entries.toReversed())
  })),
  "a storage without history returns an empty one": declared({ history: false }),

  "changes begins with Subscribed and then emits every change": but((storage) => ({
    ...storage,
    changes: Stream.filter(storage.changes, ({ _tag }) => _tag !== "Subscribed")
  })),
  "a storage that does not push emits no changes": declared({ pushes: false }),

  "an interrupted operation is applied whole or not at all, can be repeated, and leaves the storage usable": but(
    (storage) =>
      Effect.map(Semaphore.make(1), (lock) => ({
        ...storage,
        sync: (reports) =>
          lock.take(1).pipe(
            Effect.andThen(Effect.yieldNow),
            Effect.andThen(storage.sync(reports)),
            Effect.tap(lock.release(1))
          )
      }))
  ),
  "no operation blocks the event loop": but((storage) => ({
    ...storage,
    history: (circuit) => Effect.andThen(Effect.sync(() => busy(10)), storage.history(circuit))
  })),

  "a storage without its data fails, and never answers that a circuit is Closed": Table.emptyWhenCutOff,
  "a record of a newer format is read and obeyed, but never written": Table.forgetsTheFormat,
  "unknown fields of a record are kept": Table.keepsWhatItKnows,
  "a damaged record is an error, not an absent circuit": Table.emptyWhenDamaged,

  "a storage without fences commits and grants nothing, and says so": declared({ fences: false }),

  "every answer agrees with the pure record, for random operations in random order": settles((settle) =>
    settle.outcome._tag === "Failure"
      ? { ...settle, outcome: { ...settle.outcome, hint: settle.outcome.hint / 2 } }
      : settle
  )
}
