/**
 * The data that the storages of a chain have yet to receive: reports that the first one missed, and for those behind it the
 * changes, and in a mirror the reports, of the storage that answered.
 */
import * as Effect from "effect/Effect"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Fork } from "../../internal/Fork.ts"
import type { CircuitReport, Snapshot, StorageError } from "../../Storage/Storage.ts"
import { circuitsOf } from "../AllCircuits.ts"
import { Follower } from "../Follower.ts"
import { PendingReports } from "../PendingReports.ts"
import type { ChainEvents } from "./Events.ts"
import type { Hops } from "./Hops.ts"

export class Copies {
  readonly #hops: Hops
  readonly #pending: PendingReports
  /** By place. Only durable storages follow a fallback, because only there a change outlives the process. */
  readonly #followers: ReadonlyArray<Follower | undefined>
  readonly #areReported: boolean

  /** `areReported`: reports go to all storages (a mirror) and not only changes (a fallback). */
  constructor(hops: Hops, areReported: boolean, instance: string, fork: Fork) {
    this.#hops = hops
    this.#areReported = areReported
    this.#pending = new PendingReports(instance)
    this.#followers = hops.storages.map((storage, place) => {
      const { durable, fences } = storage.storage.capabilities
      return place > 0 && hops.fencesAt(0) && fences && (durable || areReported)
        ? new Follower(hops.at(0), storage, hops.budgetMillis, instance, fork)
        : undefined
    })
  }

  /** The reports that the storage at this place has not acknowledged. */
  pendingAt(place: number): PendingReports | undefined {
    return place === 0 ? this.#pending : this.#followers[place]?.pending
  }

  /** Retries in the background until the scope closes. */
  get run(): Effect.Effect<void, never, Scope.Scope> {
    return Effect.forEach(this.#followers, (follower) => follower?.queue.run ?? Effect.void, { discard: true })
  }

  /** Sends reports to all followers, except to the storage that is expected to answer. Returns those sent, by place. */
  report(reports: ReadonlyArray<CircuitReport>): ReadonlyArray<ReadonlySet<CircuitReport> | undefined> {
    if (!this.#areReported) return []
    const answering = this.#hops.storages.findIndex(({ areWritesDown }) => !areWritesDown)
    return this.#followers.map((follower, place) => place === answering ? undefined : follower?.report(reports))
  }

  /**
   * Keeps a report that was counted at one place for the others that have to count it, too. `sentToFirst`: the first
   * storage was sent it and did not answer.
   */
  counted(
    report: CircuitReport,
    place: number,
    sentToFirst: boolean,
    sent: ReadonlyArray<ReadonlySet<CircuitReport> | undefined>
  ): void {
    if (place > 0) this.#pending.add(report, sentToFirst, this.#hops.now())
    if (!this.#areReported) return
    for (const [other, follower] of this.#followers.entries()) {
      if (other !== place && sent[other]?.has(report) !== true) follower?.missed(report, other < place)
    }
  }

  /** Queues a circuit for all followers. */
  decided(circuit: string, snapshot: Snapshot): void {
    for (const follower of this.#followers) follower?.decided(circuit, snapshot)
  }

  /** Reconciles all circuits of the first storage with each follower. */
  repair(events: ChainEvents): Effect.Effect<void, StorageError> {
    return Effect.forEach([...this.#followers.entries()], ([place, follower]) =>
      follower === undefined
        ? Effect.void
        : circuitsOf(this.#hops.at(0).storage, this.#hops.at(place).storage).pipe(
          Stream.mapEffect((circuits) => follower.reconcile(circuits)),
          Stream.flattenIterable,
          Stream.runCollect,
          Effect.map((all) => events.reconciled(this.#hops.nameAt(0), this.#hops.nameAt(place), all))
        ), { discard: true })
  }
}
