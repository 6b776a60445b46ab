/**
 * The storage that breakers use while their circuits move: requests go to the storage that decides, and the other
 * follows.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import { hasBells } from "../../internal/Bells.ts"
import type { Log } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import { failIfUnreachable } from "../../internal/StorageErrors.ts"
import type {
  Bells,
  Capabilities,
  CircuitReport,
  Snapshot,
  Storage,
  StorageError,
  Synced
} from "../../Storage/Storage.ts"
import { changesOf } from "../Changes.ts"
import { reading, reconcile } from "../Reconcile.ts"
import { PATIENCE_MILLIS, type PhaseRecord } from "./PhaseRecord.ts"
import { rolesIn, type Sides } from "./Sides.ts"

/** A capability is there in all phases only if both storages have it. */
const capabilitiesOf = (from: Capabilities, to: Capabilities): Capabilities => ({
  shared: from.shared && to.shared,
  durable: from.durable && to.durable,
  pushes: from.pushes && to.pushes,
  history: from.history && to.history,
  fences: from.fences && to.fences,
  bells: from.bells === true && to.bells === true
})

export const migratingStorage = (sides: Sides, record: PhaseRecord, log: Log): Storage => {
  const [from, to] = [sides.from.storage, sides.to.storage]
  const capabilities = capabilitiesOf(from.capabilities, to.capabilities)
  const roles = () => rolesIn(record.current, sides)

  /** Sends a request to the storage that decides, and queues the circuit for the follower. */
  const decide = <A extends { readonly snapshot: Snapshot }>(
    circuit: string,
    send: (storage: Storage) => Effect.Effect<A, StorageError>
  ): Effect.Effect<A, StorageError> =>
    Effect.suspend(() => {
      const { follower, leader } = roles()
      return Effect.tap(send(leader.storage), ({ snapshot }) => Effect.sync(() => follower?.decided(circuit, snapshot)))
    })

  /**
   * Quiet instances send few reports, so every poll reads the phase, too. That another storage decides than before shows as
   * another epoch.
   */
  const bells = (since: number | undefined): Effect.Effect<Bells, StorageError> =>
    Effect.gen(function*() {
      const [phase] = yield* roles().leader.storage.sync([reading(record.circuit)])
      yield* record.receive((yield* Effect.fromResult(phase!.result)).snapshot)
      const { current } = record
      const bells = yield* rolesIn(current, sides).leader.storage.bells!(since)
      return { ...bells, epoch: `${current} ${bells.epoch}` }
    })

  /** Announcements that may concern the phase, or that may have been missed, make an instance read it. */
  const changes = (storage: Storage) =>
    Stream.tap(
      changesOf(storage),
      (announcement) =>
        announcement._tag === "Changed" && announcement.circuit !== record.circuit
          ? Effect.void
          : record.readBoth
    )

  return {
    backend: `migration(${from.backend}, ${to.backend})`,
    capabilities,
    idleTimeToLive: Duration.min(from.idleTimeToLive, to.idleTimeToLive),
    sync: (reports) => Effect.suspend(() => sync(reports, sides, record, log)),
    change: (circuit, change) => decide(circuit, (storage) => storage.change(circuit, change)),
    probe: (circuit, probe) => decide(circuit, (storage) => storage.probe(circuit, probe)),
    ...(hasBells(from) && hasBells(to) ? { bells } : {}),
    changes: capabilities.pushes ? Stream.merge(changes(from), changes(to)) : Stream.empty,
    list: Stream.suspend(() => roles().leader.storage.list),
    history: (circuit, options) => Effect.suspend(() => roles().leader.storage.history(circuit, options))
  }
}

/** Every batch of reports reads the phase, too. */
const sync = (
  reports: ReadonlyArray<CircuitReport>,
  sides: Sides,
  record: PhaseRecord,
  log: Log
): Effect.Effect<ReadonlyArray<Synced>, StorageError> =>
  Effect.gen(function*() {
    const { follower, leader: { storage } } = rolesIn(record.current, sides)
    const sent = follower?.report(reports)
    const circuits = reports.map(({ circuit }) => circuit)
    if (record.current === "read-both-write-both") yield* takeNewer(circuits, sides, log)
    const unready = yield* deliverPending(circuits, storage, sides)
    const ready = reports.filter(({ circuit }) => !unready.has(circuit))
    const [phase, ...answers] = yield* storage.sync([reading(record.circuit), ...ready])
    if (phase !== undefined && Result.isSuccess(phase.result)) yield* record.receive(phase.result.success.snapshot)
    const answered = new Map(ready.map((report, i) => [report, answers[i]!.result]))
    const synced = reports.map((report): Synced => {
      const result = answered.get(report) ?? Result.fail(unready.get(report.circuit)!)
      if (Result.isSuccess(result)) {
        follower?.decided(report.circuit, result.success.snapshot)
        if (sent?.has(report) === false) follower?.missed(report, false)
      }
      return { circuit: report.circuit, result }
    })
    return yield* Effect.as(failIfUnreachable(synced), synced)
  })

/**
 * Brings circuits to the newer of both storages. A storage that does not answer delays reports by `PATIENCE_MILLIS` at
 * most.
 */
const takeNewer = (circuits: ReadonlyArray<string>, { from, to }: Sides, log: Log): Effect.Effect<void> =>
  reconcile(from.within(PATIENCE_MILLIS / 2), to.within(PATIENCE_MILLIS / 2), circuits, "from").pipe(
    Effect.map((reconciled) => {
      const newer = reconciled.flatMap(({ circuit, result }) =>
        Result.isSuccess(result) && result.success === "back" ? [circuit] : []
      )
      if (newer.length > 0) log(messages.newerInNewStorage, { circuits: newer })
    }),
    Effect.ignore
  )

/**
 * The storage that decides may have followed before: its pending reports go first, or it would take them for repeats.
 * Returns the circuits whose reports it did not take.
 */
const deliverPending = (
  circuits: ReadonlyArray<string>,
  storage: Storage,
  { backward, forward, to }: Sides
): Effect.Effect<ReadonlyMap<string, StorageError>> => {
  const { pending } = storage === to.storage ? forward : backward
  const unready = new Map<string, StorageError>()
  const deliver = (circuit: string) =>
    pending.deliver(circuit, storage).pipe(
      Effect.catch((error) => Effect.sync(() => unready.set(circuit, error)))
    )
  return Effect.as(Effect.forEach(circuits.filter((circuit) => pending.has(circuit)), deliver), unready)
}
