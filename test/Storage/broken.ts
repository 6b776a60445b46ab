/**
 * Storages that break one law each, by the law's name: memory, or a table of texts, and what was done to it. That they break
 * others, too, is of no matter.
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

const capabilities: Capabilities = { shared: false, durable: false, pushes: true, history: true, fences: true }

/** Memory as it should be. */
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

/** Memory that says of itself what it is not. */
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

/** What `sync` tells is another. */
const looks = (f: (snapshot: Snapshot) => Snapshot): Params =>
  but((storage) => ({
    ...storage,
    sync: (reports) =>
      Effect.map(storage.sync(reports), (answers) =>
        answers.map(({ circuit, result }) => ({
          circuit,
          result: Result.map(result, (told) => ({ ...told, snapshot: f(told.snapshot) }))
        })))
  }))

/** All that a storage does for a circuit, it does for another. */
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
  "it is what it was declared to be": { ...memory, capabilities: { ...capabilities, shared: true } },
  "a circuit that nobody wrote is Closed at generation 0, and looking at it creates nothing": reports((report) =>
    isEmpty(report.delta)
      ? { ...report, delta: { ...report.delta, lifetime: { ...none, rejected: 1 } } }
      : report
  ),
  "a batch is answered in its order, circuit by circuit": but((storage) => ({
    ...storage,
    sync: (reports) => Effect.map(storage.sync(reports), (answers) => answers.toReversed())
  })),
  "its clock goes by milliseconds": looks((snapshot) => ({ ...snapshot, asOf: snapshot.asOf / 1000 })),

  "a report is counted once per circuit, instance and sequence, however often and late it comes": reports((report) => ({
    ...report,
    sequence: ++counter
  })),
  "all that a report says is added up": reports((report) => ({ ...report, delta: { ...report.delta, hint: 0 } })),
  "counts are dated by their age, kept by the width of their window, and leave it in time": reports((report) => ({
    ...report,
    delta: { ...report.delta, buckets: report.delta.buckets.map((bucket) => ({ ...bucket, age: 0 })) }
  })),
  "what is reported of an older generation enters nothing but the lifetime, of a newer one nothing at all": but(
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
  "a hundred reports at once count exactly a hundred": Table.withoutCompareAndSet,

  "of those who trip a circuit at once exactly one does, and all learn of it": but((storage) => ({
    ...storage,
    change: (circuit, change) =>
      Effect.flatMap(
        generationOf(storage, circuit),
        (generation) => storage.change(circuit, change._tag === "Trip" ? { ...change, generation } : change)
      )
  })),
  "a trip of another generation, or on a look too old, is refused and changes nothing": trips((trip) => ({
    ...trip,
    maxAge: Infinity
  })),
  "an opening lasts as planned, or as hinted, and begins with no evidence": trips((trip) => ({
    ...trip,
    opening: trip.opening && { ...trip.opening, maxOpenFor: trip.opening.openFor }
  })),
  "a trip without an opening stays Closed and begins a new window": trips((trip) => ({
    ...trip,
    opening: trip.opening ?? { openFor: 1000, maxOpenFor: 1000 }
  })),
  "generations only grow: over the record's, its author's and the storage's clock in microseconds": operations(
    (operation) => ({ ...operation, known: 0 })
  ),
  "operations at once are all done, each in a generation of its own": Table.withoutCompareAndSet,
  "an operation is done once, however often and late it comes": operations((operation) => ({
    ...operation,
    id: `${++counter}`
  })),
  "an override lies on the state without touching it, until its time is up or it is cleared": operations((operation) =>
    operation.to._tag === "Override"
      ? { ...operation, to: { ...operation.to, remaining: undefined } }
      : operation
  ),
  "a reset forgets all but the lifetime counts and an override": does("Reset", { _tag: "Remove" }),
  "a circuit that is half-open by hand takes probes at once": does("HalfOpen", { _tag: "Reset" }),
  "what is removed is a Closed that no knower of before brings back": Table.deletesOnRemove,
  "what was exported is taken over, in a generation of its own": does("Import", { _tag: "Reset" }),

  "what was lost is put back as it was, under its own generation, over a lower one only": putsBack((putBack) => ({
    ...putBack,
    age: 0
  })),
  "a half-open round is put back with its successes and its holders' leases": putsBack((putBack) => ({
    ...putBack,
    leases: []
  })),
  "a Closed that is put back never replaces an Open whose time is not up: that is stamped above both": putsBack(
    ({ snapshot }) => ({ ...byHand({ _tag: "Import", snapshot }), known: snapshot.generation })
  ),
  "a Closed that is certain replaces any Open, under its own generation": putsBack((putBack) => ({
    ...putBack,
    certain: false
  })),

  "no probe is leased while the circuit is Closed or its open time runs; when that is over the first to ask begins the round":
    asks((ask, circuit, storage) =>
      Effect.andThen(
        storage.change(circuit, byHand({ _tag: "HalfOpen" })),
        storage.probe(circuit, { _tag: "Ask", ...ask })
      )
    ),
  "of those who ask at once as many get a lease as their policy has probes, in one round": asks((
    ask,
    circuit,
    storage
  ) => storage.probe(circuit, { _tag: "Ask", ...ask, probes: Infinity })),
  "asking twice by one name grants once and prolongs nothing": asks((ask, circuit, storage) =>
    storage.probe(circuit, { _tag: "Ask", ...ask, lease: { ...ask.lease, sequence: ++counter } })
  ),
  "a lease ends by itself: its place is free, and its holder settles nothing any more": asks((ask, circuit, storage) =>
    storage.probe(circuit, { _tag: "Ask", ...ask, duration: 60 * ask.duration })
  ),
  "a lease settles once, and asking for it late brings nothing back": asks((ask, circuit, storage) =>
    Effect.flatMap(storage.probe(circuit, { _tag: "Ask", ...ask }), (answer) =>
      answer.granted
        ? Effect.succeed(answer)
        : storage.probe(circuit, { _tag: "Ask", ...ask, lease: { ...ask.lease, sequence: ++counter } }))
  ),
  "the last success closes, a failure reopens, what is ignored only frees": settles((settle) =>
    settle.outcome._tag === "Success" ? { ...settle, outcome: { ...settle.outcome, successes: 1 } } : settle
  ),
  "a lease is of its generation, and none is given to who knows a newer one": asks((ask, circuit, storage) =>
    storage.probe(circuit, { _tag: "Ask", ...ask, generation: 0 })
  ),
  "no probe is leased under an override, and one ends those that run": asks((ask, circuit, storage) =>
    Effect.andThen(
      storage.change(circuit, byHand({ _tag: "ClearOverride" })),
      storage.probe(circuit, { _tag: "Ask", ...ask })
    )
  ),

  "every state is read as it was written": looks(({ why, ...snapshot }) =>
    why === undefined ? snapshot : { ...snapshot, why: { ...why, evidence: undefined } }
  ),
  "what was written outlives the storage that wrote it": declared({ durable: true }),
  "two that share their data are one: they see, count and lease as one": declared({ shared: true }),

  "every well-formed text is a name, and its own": named((circuit) => circuit.normalize()),
  "what is not well-formed is no name, and spoils no batch": named((circuit) => circuit.toWellFormed()),

  "a circuit is forgotten the idle time after its last use, which reading and refusals are not": reports((report) =>
    isEmpty(report.delta)
      ? {
        ...report,
        instance: "reader",
        sequence: ++counter,
        delta: { ...report.delta, lifetime: { ...none, rejected: 1 } }
      }
      : report
  ),
  "none is forgotten while an open time, an override, a lease or the backoff's memory runs": Table.deletesWhenIdle,

  "all circuits that have a record are listed by their names, no other of theirs": but((storage) => ({
    ...storage,
    list: Stream.flatMap(storage.list, (name) => Stream.fromIterable(name.split("\n")))
  })),
  "what the library keeps for itself is kept, and in no list": but((storage) => {
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
  "the history tells every change, the newest first, with who made it and why": but((storage) => ({
    ...storage,
    history: (circuit, options) => Effect.map(storage.history(circuit, options), (told) => told.toReversed())
  })),
  "without a history it tells none": declared({ history: false }),

  "who listens is told first that it does, and then of every change": but((storage) => ({
    ...storage,
    changes: Stream.filter(storage.changes, ({ _tag }) => _tag !== "Subscribed")
  })),
  "who cannot push tells nothing": declared({ pushes: false }),

  "an operation that is interrupted is whole or absent, can be sent again, and leaves the storage in order": but(
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
  "no operation holds up the event loop": but((storage) => ({
    ...storage,
    history: (circuit) => Effect.andThen(Effect.sync(() => busy(10)), storage.history(circuit))
  })),

  "a storage that is cut off says so, and never that a circuit is Closed": Table.emptyWhenCutOff,
  "a record of a later format is read and obeyed, and never written": Table.forgetsTheFormat,
  "what is not known of a record is kept": Table.keepsWhatItKnows,
  "a record that makes no sense is an error, and not an absent circuit": Table.emptyWhenDamaged,

  "without fences nothing is agreed, and nobody is told that it was": declared({ fences: false }),

  "it answers as the pure record does, whatever happens in whatever order": settles((settle) =>
    settle.outcome._tag === "Failure"
      ? { ...settle, outcome: { ...settle.outcome, hint: settle.outcome.hint / 2 } }
      : settle
  )
}
