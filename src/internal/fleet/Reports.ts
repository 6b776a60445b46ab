/**
 * The reports of one circuit: the one in flight, and the calls that wait for it or for the next.
 *
 * **Invariants**
 *
 * - At most one report is in flight. It holds the outbox's pending delta, or nothing: then it is a read.
 * - A waiter waits for exactly one report: the next, or the one in flight. It is resumed once, when that one has ended.
 */
import * as Result from "effect/Result"
import { aged, noDelta } from "../../core/Delta.ts"
import { isWritable } from "../../core/Record.ts"
import type { LocalMillis, StorageMillis } from "../../core/Time.ts"
import type { CircuitReport, StorageError, Synced } from "../../Storage/Storage.ts"
import { messages } from "../Messages.ts"
import type { Counted, Local } from "./Fleet.ts"
import type { Membership } from "./Membership.ts"
import { Outbox, type Pending } from "./Outbox.ts"

/** Called with the end of a report, and whether it held all that there was to report. */
export type Waiter = (result: Result.Result<void, StorageError>, isAll: boolean) => void

type Reply = Result.Result.Success<Synced["result"]>

export interface InFlight {
  readonly pending: Pending | undefined
  /** Whether nothing is left to report after it. */
  readonly isAll: boolean
  /** The spans that its answer has totals over. */
  readonly withins: ReadonlyArray<number>
  /** The generation that was known when it was sent. */
  readonly knewGeneration: number
  readonly requestedAt: LocalMillis
  readonly waiters: Array<Waiter>
}

export class Reports {
  /** Outcomes of reports that were given up: the storage may have counted them or not. */
  lost = 0
  inFlight: InFlight | undefined = undefined
  readonly outbox: Outbox
  readonly #local: Local
  readonly #membership: Membership
  #waiters: Array<Waiter> = []
  /** Whether a call came since the last report, and when the first of them came. */
  #isCalled = true
  #calledAt: LocalMillis

  constructor(local: Local, membership: Membership, now: LocalMillis) {
    this.#local = local
    this.#membership = membership
    this.#calledAt = now
    this.outbox = new Outbox(membership.withins, now)
  }

  get isCalled(): boolean {
    return this.#isCalled
  }

  get hasWaiters(): boolean {
    return this.#waiters.length > 0
  }

  /** How long no call has come. */
  idleMillis(now: LocalMillis): number {
    return now - this.#calledAt
  }

  called(now: LocalMillis): void {
    if (this.#isCalled) return
    this.#isCalled = true
    this.#calledAt = now
  }

  // -----------------------------------------------------------------------------
  // collecting
  // -----------------------------------------------------------------------------

  collect(counted: Counted, now: LocalMillis): void {
    if (this.outbox.collect(counted, now)) this.#counted(now)
  }

  epochEnded(ended: Counted, now: LocalMillis): void {
    if (this.outbox.epochEnded(ended, now)) this.#counted(now)
  }

  lifetimeOnly(ended: Counted, now: LocalMillis): void {
    if (this.outbox.lifetimeOnly(ended, now)) this.#counted(now)
  }

  lookBack(withins: ReadonlyArray<number>, counted: Counted, now: LocalMillis): void {
    if (this.outbox.lookBack(withins, counted, now)) this.#counted(now)
  }

  #counted(now: LocalMillis): void {
    this.#isCalled = true
    this.#calledAt = now
  }

  // -----------------------------------------------------------------------------
  // sending
  // -----------------------------------------------------------------------------

  /** The next report. Without `storageTime`, the storage's clock at a local time, it holds no outcomes but those in doubt. */
  begin(
    generation: number,
    storageTime: ((at: LocalMillis) => StorageMillis | undefined) | undefined,
    { isLazy, now, suspect }: {
      readonly now: LocalMillis
      /** Whether its outcomes may be of a long time. */
      readonly isLazy: boolean
      readonly suspect: number | undefined
    }
  ): CircuitReport {
    const { connection, instance, withins } = this.#membership
    this.#giveUpOld(now)
    if (storageTime !== undefined) this.outbox.freeze(generation, () => connection.nextSequence(), storageTime, isLazy)
    const { hasMore, pending } = this.outbox
    this.#isCalled = false
    const waiters = this.#waiters.splice(0)
    this.inFlight = { pending, isAll: !hasMore, withins, knewGeneration: generation, requestedAt: now, waiters }
    return {
      circuit: this.#local.name,
      instance,
      sequence: pending?.sequence ?? 0,
      generation: pending?.generation ?? generation,
      delta: pending === undefined ? noDelta : aged(pending.delta, now - pending.at),
      withins,
      asOf: pending?.asOf === undefined ? undefined : pending.asOf + (now - pending.at),
      ...(suspect === undefined ? {} : { suspect })
    }
  }

  /** The report in flight ended. */
  end(): InFlight {
    const report = this.inFlight!
    this.inFlight = undefined
    return report
  }

  acknowledged({ pending }: InFlight, { reported, snapshot }: Reply): void {
    if (pending === undefined || pending !== this.outbox.pending) return
    if (reported === "Counted") this.outbox.pending = undefined
    else if (reported === "Refused" && isWritable(snapshot)) this.#drop(pending, messages.reportGivenUp)
    else if (reported === "Refused") this.#refused(pending)
  }

  /**
   * Beyond half the idle time, a report that was held up on its way could still be counted, and counted again if repeated. The
   * storage refuses it beyond the other half, which is for the time that the clock of this process stands still.
   */
  #giveUpOld(now: LocalMillis): void {
    const { pending } = this.outbox
    if (pending === undefined || now - pending.at < this.#membership.connection.idleTimeToLiveMillis / 2) return
    this.#drop(pending, messages.reportGivenUp)
  }

  #refused(pending: Pending): void {
    this.#drop(pending, this.#membership.hasLoggedVersion ? undefined : messages.reportRefused)
    this.#membership.hasLoggedVersion = true
  }

  #drop(pending: Pending, line: typeof messages.reportGivenUp | undefined): void {
    const { failure, success } = pending.delta.lifetime
    this.lost += success + failure
    this.outbox.pending = undefined
    if (line !== undefined) this.#membership.log(line, { circuit: this.#local.name, success, failure })
  }

  // -----------------------------------------------------------------------------
  // waiting
  // -----------------------------------------------------------------------------

  /** No report follows: who waits for the next goes on without it. */
  endWaiting(): void {
    for (const waiter of this.#waiters.splice(0)) waiter(Result.void, false)
  }

  waitForNext(waiter: Waiter): void {
    this.#waiters.push(waiter)
  }
}
