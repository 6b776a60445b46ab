/**
 * The membership of one circuit of one instance: the fleet's view as it was last heard of, and how this instance follows it.
 *
 * A newer generation is adopted, an older one is dropped, and a generation that the storage has lost is put back. Reports are
 * the `Outbox`'s, trips the `Proposals`', leases the `Leases`'.
 *
 * **Invariants**
 *
 * - `snapshot.generation` never shrinks, but where the instance gives up its own memory of a record that may have expired.
 * - `#report` is the one report in flight. `#changes` counts the other requests in flight.
 * - A waiter is in one list: of those who wait for the next report, or of the report in flight.
 * - A member that is not scheduled in the rounds has nothing to report and nothing to learn, but where it does not poll.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { aged, noCounts, noDelta } from "../../core/Delta.ts"
import type { Permit, Settlement } from "../../core/Permit.ts"
import { snapshot as snapshotOf, type Why } from "../../core/Record.ts"
import type { FleetState, FleetView, OpenedBy } from "../../core/State.ts"
import type { LocalMillis } from "../../core/Time.ts"
import { type Evidence, type RuleWindow, sameWindow, type Totals } from "../../core/TripRule.ts"
import type { FleetSnapshot } from "../../Event.ts"
import type {
  Announcement,
  Change,
  Changed,
  CircuitReport,
  OperationTo,
  Probe,
  Probed,
  Snapshot,
  StorageError,
  Synced
} from "../../Storage/Storage.ts"
import { FAILURES_UNTIL_UNREACHABLE, LEASE_GRACE_MILLIS, REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"
import { messages } from "../Messages.ts"
import { failure } from "../StorageErrors.ts"
import { isSnapshot } from "./Answers.ts"
import type { FailureLine } from "./Connection.ts"
import { type Counted, type Fleet, GATE_IDLE, type Grant, type Leave, type Local } from "./Fleet.ts"
import { fleetSnapshotOf } from "./FleetSnapshot.ts"
import { Leases } from "./Leases.ts"
import { type Membership, randomId } from "./Membership.ts"
import { Outbox, type Pending } from "./Outbox.ts"
import { Proposals } from "./Proposals.ts"
import type { Participant } from "./Rounds.ts"

/** Called with the end of a report, and whether it held all that there was to report. */
type Waiter = (result: Result.Result<void, StorageError>, isAll: boolean) => void

/** A report in flight. */
interface InFlight {
  readonly pending: Pending | undefined
  readonly isAll: boolean
  /** The generation that was known when it was sent. */
  readonly knewGeneration: number
  readonly requestedAt: LocalMillis
  readonly waiters: Array<Waiter>
}

const nothingKnown: Snapshot = snapshotOf(undefined, [], 0, 0)

export class Member implements Fleet, Evidence, Participant {
  readonly local: Local
  readonly membership: Membership
  /** The fleet's view, as last heard of. */
  snapshot: Snapshot = nothingKnown
  /** When this view was requested, and when it was answered. */
  requestedAt: LocalMillis = -Infinity
  answeredAt: LocalMillis = -Infinity
  /** How long the last change took to arrive here. */
  lagMillis: number | undefined = undefined
  /** Outcomes of reports that were given up: the storage may have counted them or not. */
  lost = 0
  #report: InFlight | undefined = undefined
  #waiters: Array<Waiter> = []
  #changes = 0
  readonly #whenNothingChanges: Array<() => void> = []
  #failuresInARow = 0
  /** Failures of its own that were logged, made when there is one. */
  #logged: Set<FailureLine> | undefined = undefined
  /** Whether a call came since the last report, and when the first of them came. */
  #isCalled = true
  #calledAt: LocalMillis
  /** The operator of this instance who is changing the circuit. */
  #operator: string | undefined = undefined
  readonly #outbox: Outbox
  readonly #proposals: Proposals
  /** Made with the first request for a lease. */
  #leases: Leases | undefined = undefined

  constructor(local: Local, membership: Membership) {
    this.local = local
    this.membership = membership
    this.#calledAt = this.#now()
    this.#outbox = new Outbox(membership.withins, this.#calledAt)
    this.#proposals = new Proposals(this)
  }

  #now(): LocalMillis {
    return this.membership.connection.now()
  }

  get #isLoaded(): boolean {
    return this.answeredAt !== -Infinity
  }

  /** Whether the storage does not answer for this circuit, so that it decides alone. */
  get isAway(): boolean {
    return this.#failuresInARow >= FAILURES_UNTIL_UNREACHABLE || this.membership.connection.isAway ||
      this.membership.hasLeft
  }

  get isSending(): boolean {
    return this.#report !== undefined
  }

  get isChanging(): boolean {
    return this.#changes > 0
  }

  /** Whether an instance that never heard of the circuit would assume the same. */
  get #isTrivial(): boolean {
    return this.#isLoaded && this.snapshot.generation === 0 && !this.#isBusy()
  }

  get isDispensable(): boolean {
    return !this.membership.polls && this.#isTrivial
  }

  /** The fleet's evidence. */
  get streak(): number {
    return this.snapshot.streak
  }

  totals(of: RuleWindow): Totals {
    const i = this.membership.withins.findIndex((duration) => sameWindow({ _tag: "Within", duration }, of))
    return this.snapshot.totals[i] ?? noCounts
  }

  get waiting(): number {
    return this.#outbox.outcomes(this.local.counted())
  }

  fleetSnapshot(now: LocalMillis): FleetSnapshot {
    return fleetSnapshotOf(this, now)
  }

  // -----------------------------------------------------------------------------
  // rounds
  // -----------------------------------------------------------------------------

  schedule(): void {
    if (this.membership.hasLeft) return
    this.local.open(GATE_IDLE)
    if (!this.#isCalled) {
      this.#isCalled = true
      this.#calledAt = this.#now()
    }
    this.addToRound()
  }

  addToRound(): void {
    this.membership.rounds.add(this)
  }

  failed(): void {
    if (this.isAway) this.schedule()
    else this.membership.rounds.flushSoon(this)
  }

  nextReport(): CircuitReport | undefined {
    const now = this.#now()
    this.#collect(now)
    this.#leases?.expire(now)
    if (this.#isClosedAhead() && this.#isCalled && this.leave(now) === "Ask") this.#leasesOf().requestAhead()
    if (this.isSending) return undefined
    if (!this.#outbox.isEmpty || this.#wantsToKnow(now)) return this.beginReport()
    if (!this.#isBusy()) this.#goIdle()
    return undefined
  }

  beginReport(): CircuitReport {
    const { connection, instance, withins } = this.membership
    const now = this.#now()
    this.#collect(now)
    this.#giveUpOldReport(now)
    const { generation } = this.snapshot
    // While the storage is away a read finds out whether it answers, before anything is sent that must not be sent twice.
    if (!this.isAway) this.#outbox.freeze(generation, () => connection.nextSequence())
    const { hasMore, pending } = this.#outbox
    const report: CircuitReport = {
      circuit: this.local.name,
      instance,
      sequence: pending?.sequence ?? 0,
      generation: pending?.generation ?? generation,
      delta: pending === undefined ? noDelta : aged(pending.delta, now - pending.at),
      withins
    }
    this.#isCalled = false
    const waiters = this.#waiters.splice(0)
    this.#report = { pending, isAll: !hasMore, knewGeneration: generation, requestedAt: now, waiters }
    return report
  }

  #wantsToKnow(now: LocalMillis): boolean {
    if (!this.#isLoaded || this.#proposals.isSuspecting || this.#hasOpenedAlone(now) || this.#waiters.length > 0) {
      return true
    }
    if (!this.membership.polls) return false
    return this.#isCalled ||
      (this.#isOpenAnywhere() && now - this.#calledAt < this.membership.connection.idleTimeToLiveMillis)
  }

  #isOpenAnywhere(): boolean {
    return this.local.state !== "Closed" || this.snapshot.state._tag !== "Closed" ||
      this.snapshot.override !== undefined
  }

  /** Whether something is left to be done, be it in a later round. */
  #isBusy(): boolean {
    return this.isSending || !this.#outbox.isEmpty || this.#leases?.isPending === true ||
      this.#leases?.isAsking === true || this.isChanging
  }

  /** Whether the storage should still hear something before the breaker ends. */
  isPending(): boolean {
    this.#collect(this.#now())
    return !this.#outbox.isEmpty || this.#leases?.isPending === true
  }

  #goIdle(): void {
    this.membership.rounds.scheduled.delete(this)
    if (this.membership.polls) this.local.shut(GATE_IDLE)
  }

  // -----------------------------------------------------------------------------
  // calls that wait
  // -----------------------------------------------------------------------------

  beforeCall(isIdle: boolean): Effect.Effect<void, StorageError> | undefined {
    const isLocal = this.membership.policy.maxAgeMillis === Infinity
    if (isIdle && !this.#isLoaded && isLocal) return this.#load()
    if (isIdle) this.schedule()
    return isLocal ? undefined : this.#refresh()
  }

  /** Loads the circuit for its first call, which waits only where the storage does not answer at once. */
  #load(): Effect.Effect<void> | undefined {
    const { batches, connection, polls } = this.membership
    if (this.isAway) {
      this.schedule()
      return undefined
    }
    let isDone = false
    let done: (() => void) | undefined
    this.#waiters.push(() => {
      isDone = true
      done?.()
    })
    batches.sendNow(this)
    if (polls || !this.#isTrivial) this.schedule()
    return isDone ? undefined : connection.patiently((resume) => isDone ? resume() : done = resume)
  }

  /** Under `strict` and `maxAge`: the view must not be older than the policy says. */
  #refresh(): Effect.Effect<void, StorageError> | undefined {
    const { batches, policy: { failsWithStorage, maxAgeMillis } } = this.membership
    if (maxAgeMillis > 0 && this.#now() - this.requestedAt <= maxAgeMillis) return undefined
    if (this.isAway) {
      this.schedule()
      return failsWithStorage
        ? this.#fail("sync", "Unavailable", "the last requests to the storage got no answer")
        : undefined
    }
    return Effect.callback<void, StorageError>((resume) => {
      const waiter: Waiter = (result) =>
        resume(Result.isFailure(result) && failsWithStorage ? Effect.fail(result.failure) : Effect.void)
      // A read that was sent before the call came does not show what was committed in between.
      const joins = maxAgeMillis > 0 && this.#report !== undefined &&
        this.#now() - this.#report.requestedAt <= maxAgeMillis
      if (joins) this.#report!.waiters.push(waiter)
      else {
        this.#waiters.push(waiter)
        batches.sendNow(this)
      }
    })
  }

  /** Under `strict`: waits until the storage has the outcomes of now, and the change that follows from them is made. */
  afterCall(): Effect.Effect<void> | undefined {
    const { batches, policy } = this.membership
    if (policy.maxAgeMillis > 0 || this.isAway) return undefined
    const until = this.#now() + 2 * REQUEST_DEADLINE_MILLIS
    const wait: Effect.Effect<void> = Effect.callback<void>((resume) => {
      // A report that was in doubt goes first, and these outcomes with the next.
      this.#waiters.push((result, isAll) =>
        resume(Result.isSuccess(result) && !isAll && this.#now() < until ? wait : Effect.void)
      )
      batches.sendNow(this)
    })
    return wait
  }

  /** Calls back once no request of the circuit is in flight. */
  whenQuiet(f: () => void): void {
    if (this.#report === undefined) this.whenNothingChanges(f)
    else this.#report.waiters.push(f)
  }

  /** Calls back once no request but a report is in flight. */
  whenNothingChanges(f: () => void): void {
    if (this.isChanging) this.#whenNothingChanges.push(f)
    else f()
  }

  // -----------------------------------------------------------------------------
  // reports
  // -----------------------------------------------------------------------------

  notEvidence(failed: boolean, slow: boolean): void {
    this.#outbox.notEvidence(failed, slow)
  }

  streakEnded(length: number, successes: number): void {
    this.#outbox.streakEnded(length, successes)
  }

  epochEnded(ended: Counted, now: LocalMillis): void {
    this.#noteCalls(this.#outbox.epochEnded(ended, now), now)
  }

  #collect(now: LocalMillis): void {
    this.#noteCalls(this.#outbox.collect(this.local.counted(), now), now)
  }

  #noteCalls(isNew: boolean, now: LocalMillis): void {
    if (!isNew) return
    this.#isCalled = true
    this.#calledAt = now
  }

  /** Beyond half the idle time, a report that was held up on its way could still be counted, and counted again if repeated. */
  #giveUpOldReport(now: LocalMillis): void {
    const { pending } = this.#outbox
    if (pending === undefined || now - pending.at < this.membership.connection.idleTimeToLiveMillis / 2) return
    this.#drop(pending, messages.reportGivenUp)
  }

  #refused(pending: Pending): void {
    const { membership } = this
    this.#drop(pending, membership.hasLoggedVersion ? undefined : messages.reportRefused)
    membership.hasLoggedVersion = true
  }

  #drop(pending: Pending, line: typeof messages.reportGivenUp | undefined): void {
    const { failure, success } = pending.delta.lifetime
    this.lost += success + failure
    this.#outbox.pending = undefined
    if (line !== undefined) this.membership.log(line, { circuit: this.local.name, success, failure })
  }

  // -----------------------------------------------------------------------------
  // answers
  // -----------------------------------------------------------------------------

  answered(answer: Synced["result"]): void {
    const report = this.#report!
    this.#report = undefined
    const result = Result.isSuccess(answer) && !isSnapshot(answer.success?.snapshot, this.membership.withins.length)
      ? Result.fail(this.#invalid("sync", answer.success))
      : answer
    if (Result.isFailure(result)) {
      this.#noteFailure(report.pending === undefined ? messages.loadFailed : messages.persistFailed, result.failure)
      for (const waiter of report.waiters) waiter(Result.fail(result.failure), false)
      return
    }
    const { reported, snapshot } = result.success
    this.#noteAnswer()
    const isFirst = !this.#isLoaded
    if (report.pending !== undefined && report.pending === this.#outbox.pending) {
      if (reported === "Counted") this.#outbox.pending = undefined
      else if (reported === "Refused") this.#refused(report.pending)
    }
    this.accept(snapshot, report.knewGeneration, report.requestedAt)
    if (isFirst) this.#logRestored(snapshot)
    if (this.requestedAt === report.requestedAt) this.#proposals.judge(report.requestedAt)
    this.#proposeOwn()
    const isAll = report.isAll && reported !== "Behind"
    this.whenNothingChanges(() => {
      for (const waiter of report.waiters) waiter(Result.void, isAll)
    })
    if (!this.membership.polls && !this.#isBusy() && !this.#wantsToKnow(this.answeredAt)) this.#goIdle()
  }

  /** Another instance changed the circuit, by a push of the storage. */
  announced({ generation, snapshot }: Extract<Announcement, { readonly _tag: "Changed" }>): void {
    if (generation <= this.snapshot.generation) return
    if (snapshot !== undefined && isSnapshot(snapshot)) this.accept(snapshot, -1, this.#now())
    else this.reread()
  }

  /** The view may be out of date. */
  reread(): void {
    if (this.#isLoaded && !this.membership.hasLeft) this.membership.batches.sendNow(this)
  }

  /** Adopts a newer snapshot, drops an older one, and puts back a generation that the storage has lost. */
  accept(snapshot: Snapshot, knewGeneration: number, requestedAt: LocalMillis): void {
    const now = this.#now()
    const known = this.snapshot.generation
    if (snapshot.generation < known) {
      if (snapshot.generation < knewGeneration) this.#putBack(snapshot, requestedAt, now)
      return
    }
    if (snapshot.generation > known) return this.#adopt(snapshot, requestedAt, now)
    if (requestedAt < this.requestedAt) return
    const totals = snapshot.totals.length > 0 ? snapshot.totals : this.snapshot.totals
    this.#know({ ...snapshot, totals }, requestedAt, now)
    this.local.refresh(this.#stateOf(snapshot, now))
    if (snapshot.state._tag === "HalfOpen" && snapshot.state.live < this.membership.plan.probes) this.#leases?.free()
  }

  #know(snapshot: Snapshot, requestedAt: LocalMillis, now: LocalMillis): void {
    this.snapshot = snapshot
    this.requestedAt = requestedAt
    this.answeredAt = now
  }

  #adopt(snapshot: Snapshot, requestedAt: LocalMillis, now: LocalMillis): void {
    const { elapsed, fingerprint, generation, state } = snapshot
    const ended = this.local.adopt(this.#viewOf(snapshot, now), now)
    this.#noteCalls(this.#outbox.lifetimeOnly(ended, now), now)
    if (this.snapshot.state._tag !== state._tag) this.lagMillis = elapsed
    this.#know(snapshot, requestedAt, now)
    this.#proposals.forget()
    this.#leases?.forgetBefore(generation)
    this.membership.log(messages.adopted, { circuit: this.local.name, state: state._tag, generation })
    this.#comparePolicies(fingerprint)
    if (this.#isOpenAnywhere() && this.membership.polls) this.schedule()
  }

  #viewOf(snapshot: Snapshot, now: LocalMillis): FleetView {
    const { elapsed, openFor, openings, override, state, why } = snapshot
    // This instance closed by its own probes while the storage was away, and another has begun a half-open round since. It
    // stays closed until a leased probe of its own has reported that.
    const staysClosed = this.#isClosedAhead() && state._tag === "HalfOpen"
    return {
      state: staysClosed ? { _tag: "Closed" } : this.#stateOf(snapshot, now),
      since: elapsed === undefined ? -Infinity : now - elapsed,
      reason: why?.reason,
      openedBy: this.#openedBy(snapshot),
      openings,
      openForMillis: openFor,
      override: override === undefined ? undefined : {
        mode: override.kind,
        reason: override.reason,
        actor: override.actor,
        until: override.remaining === undefined ? Infinity : now + override.remaining
      },
      operator: this.#operator
    }
  }

  #stateOf({ state }: Snapshot, now: LocalMillis): FleetState {
    switch (state._tag) {
      case "Closed":
        return state
      case "Open":
        return { _tag: "Open", until: now + state.remaining }
      case "HalfOpen": {
        const isFree = state.live < this.membership.plan.probes
        const lapseMillis = Math.max(0, (state.nextLapse ?? 0) - LEASE_GRACE_MILLIS)
        return { _tag: "HalfOpen", successes: state.successes, freeAt: isFree ? now : now + lapseMillis }
      }
    }
  }

  #openedBy({ state, why }: Snapshot): OpenedBy {
    if (state._tag === "HalfOpen") return this.local.openedBy
    const evidence = why?.evidence as { readonly instance?: unknown } | null | undefined
    return evidence?.instance === this.membership.instance ? "instance" : "fleet"
  }

  /** Logs once that a change was made by another policy than this breaker's. */
  #comparePolicies(other: string | undefined): void {
    const { membership } = this
    if (other === undefined || other === membership.fingerprint || membership.hasLoggedPolicies) return
    membership.hasLoggedPolicies = true
    membership.log(messages.policiesDiffer, { circuit: this.local.name, fingerprint: membership.fingerprint, other })
  }

  /** The storage does not know a generation that it once confirmed. Beyond the idle time it may have expired, not been lost. */
  #putBack(snapshot: Snapshot, requestedAt: LocalMillis, now: LocalMillis): void {
    if (this.isChanging) return
    const age = now - this.answeredAt
    if (age > this.membership.connection.idleTimeToLiveMillis) return this.#giveWay(snapshot, requestedAt, now)
    const { generation } = this.snapshot
    this.change(
      { _tag: "PutBack", snapshot: this.snapshot, age, leases: this.#leases?.running(now) ?? [] },
      (changed, requestedAt) => {
        if (changed.snapshot.generation < generation && generation === this.snapshot.generation) {
          this.#giveWay(changed.snapshot, requestedAt, this.#now())
        } else this.accept(changed.snapshot, -1, requestedAt)
      }
    )
  }

  /** Takes the storage's older generation for the true one, also for the pending report. */
  #giveWay(snapshot: Snapshot, requestedAt: LocalMillis, now: LocalMillis): void {
    this.#adopt(snapshot, requestedAt, now)
    if (this.#outbox.pending !== undefined) this.#outbox.pending.generation = snapshot.generation
  }

  // -----------------------------------------------------------------------------
  // changes and probes
  // -----------------------------------------------------------------------------

  change(change: Change, answered: (changed: Changed, requestedAt: LocalMillis) => void): void {
    const { storage } = this.membership.connection
    const requestedAt = this.#now()
    this.#request("change", () => storage.change(this.local.name, change), (changed) => {
      if (changed?.committed === true) this.logPersisted(changed.snapshot)
      if (changed !== undefined) answered(changed, requestedAt)
    })
  }

  probe(probe: Probe, answered: (probed: Probed | undefined) => void): void {
    const { storage } = this.membership.connection
    this.#request("probe", () => storage.probe(this.local.name, probe), answered)
  }

  #request<A extends Changed | Probed>(
    operation: string,
    request: () => Effect.Effect<A, StorageError>,
    answered: (answer: A | undefined) => void
  ): void {
    this.#changes++
    this.membership.connection.send({ operation, circuit: this.local.name }, request, (result) => {
      this.#changes--
      if (Result.isSuccess(result) && isSnapshot(result.success?.snapshot)) {
        this.#noteAnswer()
        answered(result.success)
      } else {
        const error = Result.isFailure(result) ? result.failure : this.#invalid(operation, result.success)
        this.#noteFailure(messages.persistFailed, error)
        answered(undefined)
      }
      if (!this.isChanging) { for (const f of this.#whenNothingChanges.splice(0)) f() }
    })
  }

  /** This instance tripped. Under `evidence: any` that is a change for all, once it is known what to change. */
  tripped(reason: string, now: LocalMillis): void {
    const { batches, hasLeft, isPooled, log } = this.membership
    log(messages.tripped, { circuit: this.local.name, reason })
    if (isPooled || hasLeft) return
    if (!this.#isLoaded) {
      batches.sendNow(this)
      this.addToRound()
    } else if (this.local.state !== "Closed") this.#proposeOwn()
    else if (this.snapshot.override?.kind === "MetricsOnly") this.#proposals.proposeOwn(reason, undefined, now)
  }

  /** Whether this instance is open under `evidence: any` and the fleet has not opened with it yet. */
  #hasOpenedAlone(now: LocalMillis): boolean {
    const opening = this.local.opening()
    return !this.membership.isPooled && opening !== undefined && now < opening.until &&
      this.snapshot.state._tag === "Closed"
  }

  #proposeOwn(): void {
    const now = this.#now()
    if (!this.#hasOpenedAlone(now) || this.isChanging || this.isAway) return
    const { reason = "", until } = this.local.opening()!
    this.#proposals.proposeOwn(reason, until - now, now)
  }

  operate(to: OperationTo, why: Why): Effect.Effect<void, StorageError> {
    const { connection } = this.membership
    const { name } = this.local
    return Effect.flatMap(randomId, (id) =>
      Effect.callback<void, StorageError>((resume) => {
        const requestedAt = this.#now()
        this.#operator = why.actor
        const operation = { _tag: "Operation", id, known: this.snapshot.generation, why, to } as const
        connection.send({ operation: "change", circuit: name }, () =>
          connection.storage.change(name, operation), (result) => {
          resume(this.#operated(result, to._tag, requestedAt))
        })
      }))
  }

  #operated(
    result: Result.Result<Changed, StorageError>,
    act: OperationTo["_tag"],
    requestedAt: LocalMillis
  ): Effect.Effect<void, StorageError> {
    if (Result.isSuccess(result) && isSnapshot(result.success?.snapshot)) {
      this.#noteAnswer()
      this.accept(result.success.snapshot, -1, requestedAt)
    }
    this.#operator = undefined
    if (Result.isFailure(result)) return Effect.fail(result.failure)
    if (!isSnapshot(result.success?.snapshot)) return Effect.fail(this.#invalid("change", result.success))
    if (!result.success.committed) return this.#fail("change", "Denied", act)
    this.logPersisted(result.success.snapshot)
    return Effect.void
  }

  // -----------------------------------------------------------------------------
  // leases
  // -----------------------------------------------------------------------------

  leave(now: LocalMillis): Leave {
    if (this.snapshot.state._tag === "Closed") return this.isAway ? "Alone" : "Own"
    const leave = this.#leases?.leave(now) ?? "Ask"
    return leave !== "Granted" && this.isAway ? "Alone" : leave
  }

  takeLease(now: LocalMillis): Grant | undefined {
    return this.#leases?.take(now)
  }

  get requestLease(): Effect.Effect<void> {
    return this.#leasesOf().request
  }

  probeEnded({ lease }: Permit, settlement: Settlement, now: LocalMillis): void {
    this.#leases?.ended(lease!.sequence, settlement, now)
  }

  #leasesOf(): Leases {
    return this.#leases ??= new Leases(this)
  }

  /** Whether this instance closed by its own probes while the storage was away, and has not reported that under a lease yet. */
  #isClosedAhead(): boolean {
    return this.snapshot.state._tag !== "Closed" && this.local.state === "Closed" &&
      this.snapshot.override === undefined
  }

  // -----------------------------------------------------------------------------
  // whether the storage answers
  // -----------------------------------------------------------------------------

  #noteAnswer(): void {
    this.#failuresInARow = 0
    this.#logged = undefined
  }

  #noteFailure(line: FailureLine, error: StorageError): void {
    const { connection, log } = this.membership
    this.#failuresInARow++
    connection.logFailure(
      log,
      error.reason === "Invalid" ? messages.decodeFailed : line,
      this.local.name,
      error,
      () => this.#logged ??= new Set()
    )
    if (this.isAway) this.#leases?.judgeAlone()
  }

  #fail(operation: string, reason: StorageError["reason"], cause: unknown): Effect.Effect<never, StorageError> {
    return Effect.fail(failure({ operation, circuit: this.local.name }, reason, cause))
  }

  #invalid(operation: string, cause: unknown): StorageError {
    return failure({ operation, circuit: this.local.name }, "Invalid", cause)
  }

  logPersisted({ state }: Snapshot): void {
    this.membership.log(messages.circuitPersisted, { circuit: this.local.name, state: state._tag })
  }

  #logRestored({ generation, lifetime: { failure, success } }: Snapshot): void {
    if (generation === 0 && success + failure === 0) return
    const { state, streak } = this.snapshot
    this.membership.log(messages.circuitRestored, {
      circuit: this.local.name,
      state: state._tag,
      failure_count: streak
    })
  }
}
