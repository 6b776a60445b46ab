/** Fallbacks and recoveries between the storages of a chain, as events, log lines and a metric. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import * as PubSub from "effect/PubSub"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Log } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import { counterOf, table } from "../../internal/MetricTable.ts"
import { isInterruption } from "../../internal/StorageErrors.ts"
import type { Announcement, StorageError } from "../../Storage/Storage.ts"
import type { FuseChange, Kind } from "../Fuse.ts"
import { type FusedStorage, type NoAnswer, skippedFields } from "../FusedStorage.ts"
import { countOf, type Reconciled } from "../Reconcile.ts"
import type { Hops } from "./Hops.ts"

/**
 * An event between the storages of a chain, each named by its `backend`.
 *
 * - `Fallback`: `from` did not answer a request, so it was sent to `to`.
 * - `Down`: a storage failed three looks or three writes in a row, and is skipped for them, except for one probe now and
 *   then. `Up`: it answers both again.
 * - `Reconciled`: `circuits` were compared. Some of them were brought `forward` to the storage that is back, others
 *   `back` from it, and for those that `failed` one of the storages did not answer.
 *
 * @category models
 * @since 0.1.0
 */
export type ChainEvent =
  | {
    readonly _tag: "Fallback"
    readonly operation: string
    readonly from: string
    readonly to: string
    readonly error: StorageError
  }
  | { readonly _tag: "Down" | "Up"; readonly backend: string }
  | {
    readonly _tag: "Reconciled"
    readonly from: string
    readonly to: string
    readonly circuits: number
    readonly forward: number
    readonly back: number
    readonly failed: number
  }

const fallbacks = counterOf(table.persistenceFallbacks)

/** An outage is over when the storage is back in use, or when it answers and did not fail for this long. */
const QUIET_MILLIS = 60_000

/** A storage that does not answer, as the log knows it. */
interface Outage {
  /** Monotonic milliseconds of the last request without an answer. */
  lastAt: number
  /** The kinds of request that have failed since. */
  readonly failing: Set<Kind>
}

/** The most events that wait for a slow consumer. The oldest is dropped. */
const CAPACITY = 256

export class ChainEvents {
  readonly #log: Log
  readonly #events: PubSub.PubSub<ChainEvent>
  readonly #switches: PubSub.PubSub<Announcement>
  /** By place. The first failure of an outage is logged as a warning. */
  readonly #outages = new Map<number, Outage>()

  private constructor(log: Log, events: PubSub.PubSub<ChainEvent>, switches: PubSub.PubSub<Announcement>) {
    this.#log = log
    this.#events = events
    this.#switches = switches
  }

  static make(log: Log): Effect.Effect<ChainEvents> {
    return Effect.map(
      Effect.all([PubSub.sliding<ChainEvent>(CAPACITY), PubSub.sliding<Announcement>(1)]),
      ([events, switches]) => new ChainEvents(log, events, switches)
    )
  }

  get events(): Stream.Stream<ChainEvent> {
    return Stream.fromPubSub(this.#events)
  }

  /**
   * Announces `Subscribed` when another storage answers, because it may have other states: breakers then read again.
   */
  get switches(): Stream.Stream<Announcement> {
    return Stream.fromPubSub(this.#switches)
  }

  changed(change: Exclude<FuseChange, { readonly _tag: "WritesDue" }>, place: number, fused: FusedStorage): void {
    const { backend } = fused.storage
    PubSub.publishUnsafe(this.#events, { _tag: change._tag, backend })
    PubSub.publishUnsafe(this.#switches, { _tag: "Subscribed" })
    if (change._tag === "Down") {
      this.#log(messages.storageSkipped, { backend, ...skippedFields(change.forMillis, fused) })
    } else {
      this.#outages.delete(place)
      this.#log(messages.storageBack, { backend })
    }
  }

  /** The storage at a place answered. An answered look clears no failed write: see `Fuse.ts`. */
  answered(place: number, kind: Kind): void {
    const failing = this.#outages.get(place)?.failing
    if (kind === "write") failing?.clear()
    else failing?.delete(kind)
  }

  /** The storage at a place did not answer, and the one at the `next` place is sent the request. */
  fellBack(
    operation: string,
    place: number,
    next: number,
    hops: Hops,
    kind: Kind,
    { error, wasSent }: NoAnswer
  ): Effect.Effect<void> {
    const [from, to] = [hops.nameAt(place), hops.nameAt(next)]
    const reason = wasSent ? error.reason : "Skipped"
    if (wasSent && !isInterruption(error)) {
      PubSub.publishUnsafe(this.#events, { _tag: "Fallback", operation, from, to, error })
      const line = this.#isNewOutage(place, kind, hops.now()) ? messages.fallback : messages.fallbackAgain
      this.#log(line, { operation, from, to, cause: error })
    }
    return Metric.update(Metric.withAttributes(fallbacks, { from, to, reason }), 1)
  }

  #isNewOutage(place: number, kind: Kind, now: number): boolean {
    const outage = this.#outages.get(place)
    if (outage === undefined || (outage.failing.size === 0 && now - outage.lastAt >= QUIET_MILLIS)) {
      this.#outages.set(place, { lastAt: now, failing: new Set([kind]) })
      return true
    }
    outage.lastAt = now
    outage.failing.add(kind)
    return false
  }

  reconciled(from: string, to: string, all: ReadonlyArray<Reconciled>): void {
    const [circuits, forward, back] = [all.length, countOf(all, "forward"), countOf(all, "back")]
    const failed = all.filter(({ result }) => Result.isFailure(result)).length
    PubSub.publishUnsafe(this.#events, { _tag: "Reconciled", from, to, circuits, forward, back, failed })
    this.#log(messages.reconciled, { from, to, circuits, forward, back, failed })
  }
}
