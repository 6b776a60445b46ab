/**
 * A storage that is kept in step with the one that decides. Reports go to it at once and changes follow; both are
 * retried in the background, and no call waits for it.
 *
 * Invariants
 *
 * - A circuit has at most one report under way, and none while older ones are pending: the order of reports is kept.
 * - Each report that the follower has not acknowledged as counted is pending.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { isEmpty } from "../core/Delta.ts"
import type { Fork } from "../internal/Fork.ts"
import { isInvalid } from "../internal/StorageErrors.ts"
import type { CircuitReport, Snapshot, StorageError } from "../Storage/Storage.ts"
import type { FusedStorage } from "./FusedStorage.ts"
import { PendingReports } from "./PendingReports.ts"
import { reconcile, reconcileCounts, type Reconciled } from "./Reconcile.ts"
import { MOST_WAITING, RetryQueue } from "./RetryQueue.ts"

/** The most batches of reports that are under way at once. */
const MOST_BATCHES = 8

export class Follower {
  readonly pending: PendingReports
  /** Circuits that are to be reconciled. Each entry is a new object, so that a newer one is noticed. */
  readonly queue: RetryQueue<object>
  readonly #leader: FusedStorage
  readonly #storage: FusedStorage
  readonly #budgetMillis: number
  readonly #fork: Fork
  /** The newest generation of each circuit that was queued. */
  readonly #queued = new Map<string, number>()
  #batches = 0
  /** Circuits with a report under way. */
  readonly #reporting = new Set<string>()

  /** `instance` names merged reports, and is unique. `fork` runs what no call waits for. */
  constructor(leader: FusedStorage, storage: FusedStorage, budgetMillis: number, instance: string, fork: Fork) {
    this.#leader = leader
    this.#storage = storage
    this.#budgetMillis = budgetMillis
    this.#fork = fork
    this.pending = new PendingReports(instance)
    this.queue = new RetryQueue((batch) => this.#retry(batch.map(([circuit]) => circuit)))
  }

  /** Queues a circuit of which the leader has answered a newer generation. */
  decided(circuit: string, { generation }: Snapshot): void {
    if (generation <= (this.#queued.get(circuit) ?? 0)) return
    this.#queued.delete(circuit)
    this.#queued.set(circuit, generation)
    if (this.#queued.size > MOST_WAITING) this.#queued.delete(this.#queued.keys().next().value!)
    this.queue.add(circuit, {})
  }

  /** Keeps a report that the follower has not acknowledged as counted. */
  missed(report: CircuitReport, wasSent: boolean): void {
    if (isEmpty(report.delta)) return
    this.pending.add(report, wasSent, this.#storage.now())
    this.queue.add(report.circuit, {})
  }

  /** Sends the reports that can be sent now in the background, and returns them. */
  report(reports: ReadonlyArray<CircuitReport>): ReadonlySet<CircuitReport> {
    if (this.#batches >= MOST_BATCHES || this.#storage.areWritesDown) return new Set()
    const sent = reports.filter(({ circuit, delta, suspect }) =>
      (!isEmpty(delta) || suspect !== undefined) && !this.#reporting.has(circuit) && !this.pending.has(circuit)
    )
    if (sent.length === 0) return new Set()
    this.#batches++
    for (const { circuit } of sent) this.#reporting.add(circuit)
    // `asOf` is by the clock of the storage that decides.
    const copies = sent.map((report) => ({ ...report, asOf: undefined }))
    const counted = this.#storage.within(this.#budgetMillis).sync(copies).pipe(
      Effect.map((synced) =>
        synced.map(({ result }) => Result.isSuccess(result) && result.success.reported === "Counted")
      ),
      Effect.catch(() => Effect.succeed([]))
    )
    this.#fork(Effect.map(counted, (isCounted) => {
      this.#batches--
      for (const [i, report] of sent.entries()) {
        this.#reporting.delete(report.circuit)
        if (isCounted[i] !== true) this.missed(report, true)
      }
    }))
    return new Set(sent)
  }

  /** Reconciles circuits with the leader and delivers their pending reports. */
  reconcile(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Reconciled>, StorageError> {
    const [leader, storage] = this.#both()
    const deliver = (reconciled: Reconciled): Effect.Effect<Reconciled> => {
      const { circuit, result } = reconciled
      if (Result.isFailure(result)) return Effect.succeed(reconciled)
      return Effect.match(this.pending.deliver(circuit, storage), {
        onFailure: (error) => ({ circuit, result: Result.fail(error) }),
        onSuccess: () => reconciled
      })
    }
    return Effect.flatMap(
      reconcile(leader, storage, circuits, "from"),
      Effect.forEach(deliver, { concurrency: MOST_BATCHES })
    )
  }

  /** Reconciles circuits, and makes up for calls that no instance reported to the follower. */
  repair(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlyArray<Reconciled>, StorageError> {
    const [leader, storage] = this.#both()
    return Effect.gen({ self: this }, function*() {
      const reconciled = yield* this.reconcile(circuits)
      const counts = yield* reconcileCounts(leader, storage, circuits)
      return reconciled.map((one, i) => {
        if (Result.isFailure(one.result)) return one
        const { result } = counts[i]!
        const isCounted = Result.isSuccess(result) && result.success !== "short"
        return isCounted && one.result.success !== "equal" ? one : counts[i]!
      })
    })
  }

  #both() {
    return [this.#leader.within(this.#budgetMillis), this.#storage.within(this.#budgetMillis)] as const
  }

  /** An `Invalid` circuit is done, because trying again does not help. */
  #retry(circuits: ReadonlyArray<string>): Effect.Effect<ReadonlySet<string>> {
    const isDone = ({ result }: Reconciled): boolean => Result.isSuccess(result) || isInvalid(result.failure)
    return this.reconcile(circuits).pipe(
      Effect.map((reconciled) => new Set(reconciled.flatMap((one) => isDone(one) ? [one.circuit] : []))),
      Effect.catch(() => Effect.succeed(new Set<string>()))
    )
  }
}
