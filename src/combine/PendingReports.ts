/**
 * Reports that a storage has not acknowledged, because it did not answer or was skipped. They are delivered later, so
 * that each call is counted once.
 *
 * Invariants
 *
 * - A report that was sent may have been counted. It is delivered again under its own name, by which the storage
 *   recognizes it for its idle time. After half of that it is given up, because it could count twice.
 * - Counts that were never sent are merged, and get a name of their own before they are sent.
 * - While reports of a circuit are pending or being delivered (`has`), newer ones must not be sent to the storage: it
 *   would take the older ones for repeats.
 */
import * as Deferred from "effect/Deferred"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { aged, type Delta, isEmpty, merge, noDelta } from "../core/Delta.ts"
import type { LocalMillis } from "../core/Time.ts"
import { monotonicNow } from "../internal/Clock.ts"
import { isInvalid } from "../internal/StorageErrors.ts"
import type { CircuitReport, StorageError } from "../Storage/Storage.ts"
import type { TimedStorage } from "./FusedStorage.ts"

/** The most sent reports of a circuit that are kept apart. Further ones are merged as if they had not been sent. */
const MOST_IN_DOUBT = 16

/** `at` is the monotonic time at which the ages in `value` were right. */
interface Dated<A> {
  readonly value: A
  readonly at: LocalMillis
}

interface Sent extends Dated<CircuitReport> {
  readonly sentAt: LocalMillis
}

interface Pending {
  /** Sent without an answer, oldest first. */
  readonly inDoubt: ReadonlyArray<Sent>
  /** Never sent. */
  readonly unsent: Dated<Delta> | undefined
}

const nothing: Pending = { inDoubt: [], unsent: undefined }

type Recipient = Pick<TimedStorage, "sync" | "idleTimeToLive">

export class PendingReports {
  readonly #pending = new Map<string, Pending>()
  /** Circuits whose reports are being delivered. */
  readonly #delivering = new Map<string, Deferred.Deferred<void>>()
  readonly #instance: string
  #deliveries = 0

  /** `instance` names merged reports, and is unique. */
  constructor(instance: string) {
    this.#instance = instance
  }

  get circuits(): ReadonlyArray<string> {
    return [...this.#pending.keys()]
  }

  /** Whether newer reports of the circuit have to wait. */
  has(circuit: string): boolean {
    return this.#pending.has(circuit) || this.#delivering.has(circuit)
  }

  add(report: CircuitReport, wasSent: boolean, at: LocalMillis): void {
    if (isEmpty(report.delta)) return
    const { inDoubt, unsent } = this.#pending.get(report.circuit) ?? nothing
    if (wasSent && inDoubt.length < MOST_IN_DOUBT) {
      this.#pending.set(report.circuit, { inDoubt: [...inDoubt, { value: report, at, sentAt: at }], unsent })
    } else {
      const value: Delta = { ...noDelta, lifetime: report.delta.lifetime }
      this.#pending.set(report.circuit, { inDoubt, unsent: merged(unsent, { value, at }) })
    }
  }

  /** Sends the pending reports of a circuit, for its lifetime counts only: as evidence they are too old. */
  deliver(circuit: string, storage: Recipient): Effect.Effect<void, StorageError> {
    return Effect.suspend(() => {
      const underWay = this.#delivering.get(circuit)
      if (underWay !== undefined) return Effect.andThen(Deferred.await(underWay), this.deliver(circuit, storage))
      const pending = this.#pending.get(circuit)
      if (pending === undefined) return Effect.void
      this.#pending.delete(circuit)
      const ended = Deferred.makeUnsafe<void>()
      this.#delivering.set(circuit, ended)
      let left = pending
      const delivered = Effect.gen({ self: this }, function*() {
        for (const report of pending.inDoubt) {
          yield* send(report, storage)
          left = { ...left, inDoubt: left.inDoubt.slice(1) }
        }
        if (left.unsent === undefined) return
        const named = this.#named(circuit, left.unsent, yield* monotonicNow)
        left = { inDoubt: [named], unsent: undefined }
        yield* send(named, storage)
      })
      return Effect.onExit(delivered, (exit) =>
        Effect.sync(() => {
          if (Exit.isFailure(exit)) this.#putBack(circuit, left)
          this.#delivering.delete(circuit)
          Deferred.doneUnsafe(ended, Exit.void)
        }))
    })
  }

  /** An instance name for each delivery, so that their order does not matter. */
  #named(circuit: string, { at, value: delta }: Dated<Delta>, sentAt: LocalMillis): Sent {
    const instance = `${this.#instance} ${++this.#deliveries}`
    return { at, sentAt, value: { circuit, instance, sequence: 0, generation: 0, delta, withins: [] } }
  }

  #putBack(circuit: string, { inDoubt, unsent }: Pending): void {
    const since = this.#pending.get(circuit) ?? nothing
    this.#pending.set(circuit, { inDoubt: [...inDoubt, ...since.inDoubt], unsent: merged(unsent, since.unsent) })
  }
}

/** Both as one, as of the later. */
const merged = (earlier: Dated<Delta> | undefined, later: Dated<Delta> | undefined): Dated<Delta> | undefined =>
  earlier === undefined || later === undefined
    ? earlier ?? later
    : { value: merge(aged(earlier.value, later.at - earlier.at), later.value), at: later.at }

/** An `Invalid` circuit will never accept the report, so it is dropped, and so is one that the storage may have forgotten. */
const send = ({ at, sentAt, value }: Sent, storage: Recipient): Effect.Effect<void, StorageError> =>
  Effect.gen(function*() {
    const now = yield* monotonicNow
    if (now - sentAt >= Duration.toMillis(storage.idleTimeToLive) / 2) return
    const ageMillis = now - at
    const asOf = value.asOf === undefined ? undefined : value.asOf + ageMillis
    const [answer] = yield* storage.sync([{ ...value, generation: 0, delta: aged(value.delta, ageMillis), asOf }])
    yield* Effect.fromResult(answer!.result)
  }).pipe(Effect.catchIf(isInvalid, () => Effect.void))
