/**
 * The membership of one circuit of one instance: the last known view of the fleet, and how this instance follows it.
 *
 * A newer generation is adopted, an older one is dropped, and a generation that the storage has lost is put back. Everything
 * else has a file of its own: `Reports` (with the `Outbox`), `Proposals`, `Leases`, `Exchange`.
 *
 * **Invariants**
 *
 * - `snapshot.generation` never shrinks, but where the instance gives up its own memory of a record that may have expired.
 * - Only `#adopt` makes the circuit follow the fleet, and the counts of the epoch that this ends are no evidence afterwards.
 * - A member that is not scheduled in the rounds has nothing to report and nothing to learn, but where it does not poll.
 * - An instance has one member for each circuit's name that is not ended, because a storage takes the older of two reports of one
 *   instance and circuit for a repeat. `Keys` holds this for circuits that are evicted and come back.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { noCounts } from "../../core/Delta.ts"
import type { Permit, Settlement } from "../../core/Permit.ts"
import { isSnapshotAlert, type LeaseName, snapshot as snapshotOf, type Why } from "../../core/Record.ts"
import type { OpenedBy } from "../../core/State.ts"
import type { LocalMillis, StorageMillis } from "../../core/Time.ts"
import { approach, type Evidence, type RuleWindow, sameWindow, type Totals } from "../../core/TripRule.ts"
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
  SnapshotAlert,
  StorageError,
  Synced
} from "../../Storage/Storage.ts"
import { isSnapshot } from "../Answers.ts"
import { REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"
import { randomId } from "../Ids.ts"
import { messages } from "../Messages.ts"
import { deadlineExceeded } from "../StorageErrors.ts"
import type { Rung } from "./Bell.ts"
import { Exchange } from "./Exchange.ts"
import { type Counted, type Fleet, GATE_IDLE, GATE_SHEDS, type Leave, type Local } from "./Fleet.ts"
import { fleetSnapshotOf } from "./FleetSnapshot.ts"
import { Hurry } from "./Hurry.ts"
import { Leases } from "./Leases.ts"
import type { Membership } from "./Membership.ts"
import { Proposals } from "./Proposals.ts"
import { Reports, type Waiter } from "./Reports.ts"
import type { Participant, Turn } from "./Rounds.ts"
import { fleetStateOf, fleetViewOf, overrideUntil } from "./View.ts"
import { alertMillisOf, isUrgent, LOOKS_AN_INTERVAL, membersOf, Vigil } from "./Vigil.ts"

/** An operator's act that is in flight. */
interface Act {
  readonly actor: string | undefined
  /** Whether it lifts an override. */
  readonly lifts: boolean
  readonly requestedAt: LocalMillis
}

const noActs: ReadonlyArray<Act> = []

const nothingKnown: Snapshot = snapshotOf(undefined, [], 0, 0)

export class Member implements Fleet, Evidence, Participant {
  readonly local: Local
  readonly membership: Membership
  /** The last known view of the fleet. */
  snapshot: Snapshot = nothingKnown
  /** When this view was requested, and when it was answered. */
  requestedAt: LocalMillis = -Infinity
  answeredAt: LocalMillis = -Infinity
  /** The storage's clock, and the local time when an answer told it. */
  #clock: { readonly asOf: StorageMillis; readonly at: LocalMillis } | undefined = undefined
  /** When this was made. */
  readonly #since: LocalMillis
  /** On whose evidence the fleet's circuit was opened, as of the last generation that was adopted. */
  #openedBy: OpenedBy = "fleet"
  /** How long the last change took to arrive here. */
  lagMillis: number | undefined = undefined
  /** Operators' acts that are in flight. */
  #acts: ReadonlyArray<Act> = noActs
  #hasEnded = false
  readonly #reports: Reports
  readonly #exchange: Exchange
  /** Made with the first failure. */
  #hurry: Hurry | undefined = undefined
  /** Whether a failure waits for a hurried report. */
  #isHurried = false
  /** Made with the first suspicion or alert. */
  #vigil: Vigil | undefined = undefined
  /** The gap of the bell up to which the view is up to date, and that of the report in flight. */
  #gap = -1
  #gapAsked = -1
  /** Whether the bell told of a newer generation than is known. */
  #isBehind = false
  /** The lazy round in which it reported last. */
  #lazyRound: number
  readonly #proposals: Proposals
  /** Made with the first request for a lease. */
  #leases: Leases | undefined = undefined

  constructor(local: Local, membership: Membership) {
    this.local = local
    this.membership = membership
    membership.connection.sleeps.look()
    this.#since = this.#now()
    this.#reports = new Reports(local, membership, this.#since)
    this.#exchange = new Exchange(local, membership)
    this.#proposals = new Proposals(this)
    this.#lazyRound = membership.isQuiet ? membership.rounds.lazyRound(membership.lazyMillis) : 0
  }

  get hears(): boolean {
    return this.membership.isQuiet
  }

  #now(): LocalMillis {
    return this.membership.connection.now()
  }

  /** The storage's clock at a local time, as far as it is known here. A storage without a clock, such as null, tells none. */
  storageTime(at: LocalMillis): StorageMillis | undefined {
    return this.#clock === undefined ? undefined : this.#clock.asOf + (at - this.#clock.at)
  }

  get #isLoaded(): boolean {
    return this.answeredAt !== -Infinity
  }

  get isAway(): boolean {
    return this.#exchange.isAway
  }

  get isSending(): boolean {
    return this.#reports.inFlight !== undefined
  }

  get isChanging(): boolean {
    return this.#exchange.isBusy
  }

  /** Whether the circuit is loaded, was never changed, and has nothing in flight or to report. */
  get #isTrivial(): boolean {
    return this.#isLoaded && this.snapshot.generation === 0 && !this.#isBusy()
  }

  get isQuiet(): boolean {
    return !this.isPending() && !this.#isBusy() && !this.#reports.hasWaiters
  }

  tellAll(): void {
    this.#lazyRound = -1
  }

  end(): void {
    this.#hasEnded = true
    this.membership.rounds.remove(this)
    this.#reports.endWaiting()
  }

  /** The breaker has another policy than `before`: what is known is seen by the new one. */
  policyReplaced({ withins: before }: Pick<Membership, "withins">): void {
    const { withins } = this.membership
    this.#reports.lookBack(withins, this.local.counted(), this.#now())
    const totals = withins.map((within) => this.snapshot.totals[before.indexOf(within)] ?? noCounts)
    this.snapshot = { ...this.snapshot, totals }
    // The evidence may trip the new policy, too, so the next snapshot is looked at though no call may come.
    if (this.#proposals.isSuspecting) {
      this.#reports.waitForNext(() => {})
      this.addToRound()
    }
    this.#proposals.forget()
    // How many probes are free is for the policy to say.
    this.#leases?.free()
    const { answeredAt, membership: { plan: { probes } }, snapshot } = this
    this.local.refresh(fleetStateOf(snapshot, probes, answeredAt), overrideUntil(snapshot, answeredAt))
  }

  /** Nobody knows the times of the calls that the circuit has counted so far, so they are reported for the lifetime alone. */
  startFromHere(): void {
    this.#reports.lifetimeOnly(this.local.counted(), this.#now())
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

  /** The fingerprint of the policy that made the last change, where this breaker neither has it nor had it then. */
  get drift(): string | undefined {
    const { elapsed = 0, fingerprint } = this.snapshot
    return this.membership.drift.differs(fingerprint, this.requestedAt - elapsed) ? fingerprint : undefined
  }

  get approach(): number {
    const { isPooled, plan } = this.membership
    return isPooled && this.snapshot.state._tag === "Closed" ? approach(plan.rule, this) : 0
  }

  /** They say less and less as they grow old, which they do while the storage is away. */
  requests(now: LocalMillis): Totals | undefined {
    const { requests } = this.#proposals
    const { throttle } = this.membership.plan
    if (throttle === undefined || requests === undefined) return undefined
    const { failure, shed = 0, slow, success } = requests.totals
    const left = Math.max(0, 1 - (now - requests.at) / throttle.window.duration)
    return { success: success * left, failure: failure * left, slow: slow * left, shed: shed * left }
  }

  fleetSnapshot(now: LocalMillis): FleetSnapshot {
    return fleetSnapshotOf(this, now)
  }

  get waiting(): number {
    return this.#reports.outbox.outcomes(this.local.counted())
  }

  get lost(): number {
    return this.#reports.lost
  }

  // -----------------------------------------------------------------------------
  // rounds
  // -----------------------------------------------------------------------------

  schedule(): void {
    if (this.membership.hasLeft || this.#hasEnded) return
    this.local.open(GATE_IDLE)
    this.#reports.called(this.#now())
    this.addToRound()
  }

  addToRound(): void {
    if (!this.#hasEnded) this.membership.rounds.add(this)
  }

  failed(): void {
    const { rounds } = this.membership
    if (this.isAway) this.schedule()
    else if (!rounds.isHurried(this)) {
      this.#isHurried = true
      this.#hurry ??= new Hurry()
      rounds.hurry(this, this.#hurry.next(this.#now(), this.pacedMillis))
    }
  }

  /** How long it is between two reports. */
  get pacedMillis(): number {
    return Math.min(this.#mostPacedMillis, this.membership.rounds.pacedMillis)
  }

  /**
   * The longest interval on a slow storage: a sixth of a window, if that is longer than the policy's. The first reports of trouble,
   * the answers to an alert and the snapshot that confirms it take about three, and have to see the failures that came before the
   * instances isolated themselves.
   */
  get #mostPacedMillis(): number {
    const { lazyMillis, rounds } = this.membership
    return Math.max(rounds.intervalMillis, lazyMillis / 2)
  }

  /** Whether alerts have opened nothing for a while. */
  get isInVain(): boolean {
    return this.#vigil?.isInVain(this.pacedMillis, this.#now()) === true
  }

  nextReport(turn: Turn): CircuitReport | undefined {
    const now = this.#now()
    this.#collect(now)
    this.#leases?.expire(now)
    const wantsToProbe = this.membership.policy.takesPart && this.#isClosedAhead() && this.#reports.isCalled
    if (wantsToProbe && this.leave(now) === "Ask") this.#leasesOf().requestAhead()
    if (this.isSending || this.#skips(turn, now)) return undefined
    this.membership.rounds.served(this)
    const isHurried = this.#isHurried
    this.#isHurried = false
    const hasToTell = turn === "last" ? !this.#reports.outbox.isEmpty : this.#hasToTell(now)
    if (hasToTell || this.#wantsToKnow(now)) {
      if (isHurried) this.#hurry?.sent(now, this.pacedMillis)
      return this.#begin(hasToTell)
    }
    if (!this.#isBusy() && !this.#staysAwake(now)) this.#goIdle()
    return undefined
  }

  #skips(turn: Turn, now: LocalMillis): boolean {
    const isRound = turn === "round" || turn === "slow round"
    return (isRound && this.#canSkip(now)) || (turn === "slow round" && this.#canWait(now))
  }

  /**
   * Whether to skip a round in which a slow storage is to get fewer requests. A half-open circuit skips none, because its rounds are
   * short and few.
   */
  #canWait(now: LocalMillis): boolean {
    const { intervalMillis } = this.membership.rounds
    const isSettled = this.snapshot.state._tag === "Closed" || this.#isOpenAt(now)
    return isSettled && this.#isLoaded && !this.#reports.hasWaiters &&
      now + intervalMillis - this.requestedAt <= this.#mostPacedMillis
  }

  /**
   * Whether to skip a round after a report beside the rounds, where alerts have opened nothing for a while: the circuit then reports
   * once an interval at most. The bell tells of changes all the same. A policy with a `throttle` skips none, because the share of
   * calls that is shed follows the counts of each round.
   */
  #canSkip(now: LocalMillis): boolean {
    const mustReport = this.#reports.hasWaiters || this.#proposals.isSuspecting ||
      this.membership.plan.throttle !== undefined
    return this.#hearsAll && this.#isLoaded && this.snapshot.state._tag === "Closed" && !mustReport &&
      this.isInVain && this.#vigil?.isAhead(this.pacedMillis, now) === true
  }

  /** Whether it follows changes without calls: an open circuit that nobody calls is polled for the idle time. */
  #staysAwake(now: LocalMillis): boolean {
    return this.membership.polls && this.#isOpenAnywhere() &&
      this.#reports.idleMillis(now) < this.membership.connection.idleTimeToLiveMillis
  }

  /** Whether there are outcomes to report now. A healthy circuit keeps them until its next lazy round, unless they are urgent. */
  #hasToTell(now: LocalMillis): boolean {
    const { outbox } = this.#reports
    if (outbox.isEmpty) return false
    if (!this.#isQuiet(now)) return true
    const { lazyMillis, rounds } = this.membership
    return outbox.pending !== undefined || this.#lazyRound !== rounds.lazyRound(lazyMillis) || this.#isUrgent(now)
  }

  #isUrgent(now: LocalMillis): boolean {
    const { alerts, plan } = this.membership
    if (!alerts || this.snapshot.state._tag !== "Closed" || this.#isUnjudged(now)) return false
    const own = this.#reports.outbox.unacknowledged(now)
    const { answeredAt, snapshot } = this
    return own !== undefined &&
      isUrgent(plan, { answeredAt, snapshot, totals: (window) => this.totals(window) }, own, this.isInVain, now)
  }

  /** Whether the bell tells it of all changes. */
  get #hearsAll(): boolean {
    const { connection: { bell }, isQuiet } = this.membership
    return isQuiet && bell?.isWorking === true && !this.isAway
  }

  /** Whether outcomes may wait for the lazy round: the bell works, and the circuit is settled. */
  #isQuiet(now: LocalMillis): boolean {
    if (!this.#hearsAll || !this.#isLoaded) return false
    if (this.local.isShut(GATE_SHEDS)) return false
    const { state } = this.snapshot
    const isSettled = state._tag === "Closed" || this.#isOpenAt(now) || this.#isUnjudged(now)
    return isSettled && this.#vigil?.isAlert(now) !== true
  }

  /** Whether the fleet's open time runs. */
  #isOpenAt(now: LocalMillis): boolean {
    const { state } = this.snapshot
    return state._tag === "Open" && now < this.answeredAt + state.remaining
  }

  /** An open circuit is looked at by some instance, so that it is put back where the storage has lost this circuit alone. */
  #isDueToLook(now: LocalMillis): boolean {
    const { pacedMillis } = this
    const lookMillis = pacedMillis * Math.max(1, membersOf(this.snapshot) / LOOKS_AN_INTERVAL)
    return this.#isOpenAt(now) && now - this.requestedAt >= lookMillis - pacedMillis / 2
  }

  /** Whether an override is in force under which nothing is judged. */
  #isUnjudged(now: LocalMillis): boolean {
    const { override } = this.snapshot
    if (override === undefined || override.kind === "MetricsOnly") return false
    return now < this.answeredAt + (override.remaining ?? Infinity)
  }

  beginReport(): CircuitReport {
    return this.#begin(true)
  }

  /** Without `hasToTell` it is a look, and what is not urgent stays here. */
  #begin(hasToTell: boolean): CircuitReport {
    const now = this.#now()
    this.#collect(now)
    // While the storage is away a read finds out whether it answers, before anything is sent that must not be sent twice. Before
    // the first answer its clock is not known, by which it sees how late a report is.
    const isRead = this.isAway || !this.#isLoaded || !hasToTell
    const { connection: { bell }, isQuiet, lazyMillis, rounds } = this.membership
    this.#gapAsked = bell?.gaps ?? -1
    if (isQuiet && !isRead) this.#lazyRound = rounds.lazyRound(lazyMillis)
    this.#vigil?.reported(this.pacedMillis, now)
    return this.#reports.begin(this.snapshot.generation, isRead ? undefined : (at) => this.storageTime(at), {
      now,
      isLazy: this.#isQuiet(now),
      suspect: this.#proposals.suspects ? alertMillisOf(this.pacedMillis) : undefined
    })
  }

  #wantsToKnow(now: LocalMillis): boolean {
    if (!this.#isLoaded || this.#proposals.isSuspecting || this.#hasToPropose(now) || this.#reports.hasWaiters) {
      return true
    }
    if (!this.membership.polls) return false
    if (this.#isQuiet(now)) return this.#gap !== this.membership.connection.bell?.gaps || this.#isDueToLook(now)
    return this.#reports.isCalled || this.#staysAwake(now)
  }

  #isOpenAnywhere(): boolean {
    return this.local.state !== "Closed" || this.snapshot.state._tag !== "Closed" ||
      this.snapshot.override !== undefined
  }

  /** Whether something is left to be done, be it in a later round. */
  #isBusy(): boolean {
    return this.isSending || !this.#reports.outbox.isEmpty || this.#leases?.isPending === true ||
      this.#leases?.isAsking === true || this.isChanging || this.#acts.length > 0
  }

  /** Whether there is something to send before the breaker ends. */
  isPending(): boolean {
    this.#collect(this.#now())
    return !this.#reports.outbox.isEmpty || this.#leases?.isPending === true
  }

  #goIdle(): void {
    this.membership.rounds.scheduled.delete(this)
    if (this.membership.polls) this.local.shut(GATE_IDLE)
  }

  #collect(now: LocalMillis): void {
    this.#reports.collect(this.local.counted(), now)
  }

  // -----------------------------------------------------------------------------
  // calls
  // -----------------------------------------------------------------------------

  beforeCall(isIdle: boolean): Effect.Effect<boolean, StorageError> | undefined {
    const isLocal = this.membership.policy.maxAgeMillis === Infinity
    if (isIdle && !this.#isLoaded && isLocal) return this.#load()
    if (isIdle) this.schedule()
    return isLocal ? undefined : this.#refresh()
  }

  /** Loads the circuit for its first call, which waits only where the storage does not answer at once. */
  #load(): Effect.Effect<boolean> | undefined {
    const { batches, connection, polls } = this.membership
    if (this.isAway) {
      this.schedule()
      return undefined
    }
    let isDone = false
    let done: (() => void) | undefined
    this.#reports.waitForNext(() => {
      isDone = true
      done?.()
    })
    batches.sendNow(this)
    if (polls || !this.#isTrivial) this.schedule()
    if (isDone) return undefined
    return Effect.as(connection.patiently((resume) => isDone ? resume() : done = resume), true)
  }

  /** Under `strict` and `maxAge`: the view must not be older than the policy says. Returns whether it was loaded. */
  #refresh(): Effect.Effect<boolean, StorageError> | undefined {
    const { batches, connection, policy: { failsWithStorage, maxAgeMillis } } = this.membership
    if (maxAgeMillis > 0 && this.#viewMillis() <= maxAgeMillis) return undefined
    if (this.isAway) {
      this.schedule()
      const cause = "the last requests to the storage got no answer"
      return failsWithStorage ? Effect.fail(this.#exchange.failure("sync", "Unavailable", cause)) : undefined
    }
    const notLoaded = (error: StorageError) => failsWithStorage ? Effect.fail(error) : Effect.succeed(false)
    // A request that is in flight may take up to its deadline, and this call's own that much again.
    const late = Effect.suspend(() =>
      notLoaded(deadlineExceeded({ operation: "sync", circuit: this.local.name }, REQUEST_DEADLINE_MILLIS))
    )
    return connection.untilDeadline(late, (resume) => {
      const waiter: Waiter = (result) =>
        resume(Result.isFailure(result) ? notLoaded(result.failure) : Effect.succeed(true))
      // A read that was sent before the call came does not show what was committed in between.
      const { inFlight } = this.#reports
      const joins = maxAgeMillis > 0 && inFlight !== undefined && this.#now() - inFlight.requestedAt <= maxAgeMillis
      if (joins) inFlight.waiters.push(waiter)
      else {
        this.#reports.waitForNext(waiter)
        batches.sendNow(this)
      }
    })
  }

  /** How old the view is, which a poll of the bell renews. If the wall clock was set forward, it is loaded once too often. */
  #viewMillis(): number {
    const { connection: { bell }, isQuiet } = this.membership
    const isConfirmed = isQuiet && bell?.isWorking === true && this.#gap === bell.gaps && !this.#isBehind
    const confirmedAt = isConfirmed ? Math.max(this.requestedAt, bell.confirmedAt) : this.requestedAt
    return this.#now() - confirmedAt + this.#sleptMillis()
  }

  /**
   * For a call that was admitted under `strict`: waits until the storage has the outcomes of now, and the change that follows
   * from them is made.
   */
  afterCall(): Effect.Effect<void> | undefined {
    const { batches, connection } = this.membership
    if (this.isAway) return undefined
    return Effect.suspend(() => {
      const until = this.#now() + REQUEST_DEADLINE_MILLIS
      return connection.untilDeadline(Effect.void, (resume) => {
        const wait = (): void => {
          // A report that was in doubt goes first, and these outcomes with the next.
          this.#reports.waitForNext((result, isAll) =>
            Result.isSuccess(result) && !isAll && this.#now() < until ? wait() : resume(Effect.void)
          )
          batches.sendNow(this)
        }
        wait()
      })
    })
  }

  /** Calls back once no request of the circuit is in flight. */
  whenQuiet(f: () => void): void {
    const { inFlight } = this.#reports
    if (inFlight === undefined) this.whenNothingChanges(f)
    else inFlight.waiters.push(f)
  }

  whenNothingChanges(f: () => void): void {
    this.#exchange.whenNone(f)
  }

  notEvidence(failed: boolean, slow: boolean): void {
    this.#reports.outbox.notEvidence(failed, slow)
  }

  streakEnded(length: number, successes: number): void {
    this.#reports.outbox.streakEnded(length, successes)
  }

  epochEnded(ended: Counted, now: LocalMillis): void {
    this.#reports.epochEnded(ended, now)
  }

  // -----------------------------------------------------------------------------
  // the fleet's view
  // -----------------------------------------------------------------------------

  answered(answer: Synced["result"]): void {
    const report = this.#reports.end()
    if (this.#hasEnded) {
      for (const waiter of report.waiters) waiter(Result.void, false)
      return
    }
    const result = Result.isSuccess(answer) && !isSnapshot(answer.success?.snapshot, report.withins.length)
      ? Result.fail(this.#exchange.failure("sync", "Invalid", answer.success))
      : answer
    if (Result.isFailure(result)) {
      this.#noteFailure(report.pending === undefined ? messages.loadFailed : messages.persistFailed, result.failure)
      for (const waiter of report.waiters) waiter(Result.fail(result.failure), false)
      return
    }
    const { reported } = result.success
    // Totals over the spans of a former policy say nothing about this one's.
    const isCurrent = report.withins === this.membership.withins
    const snapshot = isCurrent ? result.success.snapshot : { ...result.success.snapshot, totals: [] }
    this.#exchange.noteAnswer()
    this.#gap = this.#gapAsked
    const isFirst = !this.#isLoaded
    this.#reports.acknowledged(report, result.success)
    this.accept(snapshot, report.knewGeneration, report.requestedAt)
    if (isFirst) this.#logRestored(snapshot)
    if (isCurrent && this.requestedAt === report.requestedAt) this.#proposals.judge(report.requestedAt)
    this.local.evidenceRead(this.answeredAt)
    // The first answer brought the storage's clock, without which no outcomes were sent.
    if (isFirst && !this.#reports.outbox.isEmpty) this.membership.batches.sendNow(this)
    else this.#proposeOwn()
    this.#call()
    const isAll = report.isAll && reported !== "Behind"
    this.whenNothingChanges(() => {
      for (const waiter of report.waiters) waiter(Result.void, isAll)
    })
    if (!this.membership.polls && !this.#isBusy() && !this.#wantsToKnow(this.answeredAt)) this.#goIdle()
  }

  /** Calls for the counts of all, if the rule could trip and too little of an alert is left. */
  #call(): void {
    if (!this.#proposals.suspects) return
    const { batches, rounds } = this.membership
    const now = this.#now()
    const vigil = this.#vigilOf()
    if (vigil.calls(this.pacedMillis, now)) {
      this.addToRound()
      return batches.sendNow(this)
    }
    // Of the whole fleet, who has called looks again as soon as the evidence may trip.
    const lastsAt = this.#proposals.lastsAt(this.answeredAt, this.requestedAt)
    if (lastsAt !== undefined && lastsAt > now && vigil.hasCalled(this.pacedMillis, now)) {
      rounds.hurry(this, lastsAt)
    }
  }

  /** An instance has called for the counts of all. They come after a random part of this time, so that they do not come at once. */
  #hearAlert(alert: SnapshotAlert | undefined, withinMillis: number): void {
    const { alerts, connection, rounds } = this.membership
    if (!alerts || !isSnapshotAlert(alert)) return
    const now = this.#now()
    const isNews = this.#vigilOf().hear(alert.remaining, this.pacedMillis, now)
    if (isNews && rounds.scheduled.has(this)) rounds.hurry(this, now + withinMillis * connection.random())
  }

  #vigilOf(): Vigil {
    return this.#vigil ??= new Vigil()
  }

  /** The circuit has rung the bell of the storage. */
  rung({ alert, generation }: Rung): void {
    const { generation: known } = this.snapshot
    if (generation === known) this.#hearAlert(alert, this.membership.rounds.intervalMillis / 10)
    else if (generation > known) {
      this.#isBehind = true
      this.reread()
    }
  }

  /** Another instance changed the circuit or called for the counts of all, by a push of the storage. */
  announced({ alert, generation, snapshot }: Extract<Announcement, { readonly _tag: "Changed" }>): void {
    if (generation === this.snapshot.generation) this.#hearAlert(alert, this.membership.rounds.intervalMillis / 2)
    if (generation <= this.snapshot.generation) return
    if (snapshot !== undefined && isSnapshot(snapshot)) this.accept(snapshot, -1, this.#now())
    else this.reread()
  }

  /** The view may be out of date. */
  reread(): void {
    if (this.#isLoaded && !this.membership.hasLeft) this.membership.batches.sendNow(this)
  }

  /**
   * Adopts a newer snapshot, drops an older one, and puts back a generation that the storage has lost. Of one generation the answer to
   * the later request is the newer one.
   */
  accept(snapshot: Snapshot, knewGeneration: number, requestedAt: LocalMillis, act?: Act): void {
    if (this.#hasEnded) return
    const now = this.#now()
    const known = this.snapshot.generation
    const { probes } = this.membership.plan
    if (snapshot.generation < known) {
      if (snapshot.generation < knewGeneration) this.#putBack(snapshot, requestedAt, now)
      return
    }
    if (snapshot.generation > known) return this.#adopt(snapshot, requestedAt, now, act)
    if (requestedAt < this.requestedAt) return
    const totals = snapshot.totals.length > 0 ? snapshot.totals : this.snapshot.totals
    const believed = { ...snapshot, state: this.#believed(snapshot.state, now), totals }
    this.#know(believed, requestedAt, now)
    this.local.refresh(fleetStateOf(believed, probes, now), overrideUntil(believed, now))
    this.#hearAlert(snapshot.alert, 0)
    const { state } = snapshot
    if (state._tag === "HalfOpen" && state.live < probes && state.probesIn === undefined) this.#leases?.free()
  }

  /** The rest of one open time only gets shorter. A longer one comes from a storage whose clock was set back. */
  #believed(state: Snapshot["state"], now: LocalMillis): Snapshot["state"] {
    const known = this.snapshot.state
    if (state._tag !== "Open" || known._tag !== "Open") return state
    const left = Math.max(0, known.remaining - (now - this.answeredAt))
    return left < state.remaining ? { ...state, remaining: left } : state
  }

  #know(snapshot: Snapshot, requestedAt: LocalMillis, now: LocalMillis): void {
    const sleptMillis = this.#sleptUntil(snapshot, now)
    if (sleptMillis > 0) this.#reports.outbox.slept(sleptMillis, this.local.counted(), now)
    if (snapshot.asOf > 0) this.#clock = { asOf: snapshot.asOf, at: now }
    this.snapshot = snapshot
    this.#isBehind = false
    this.requestedAt = requestedAt
    this.answeredAt = now
  }

  #adopt(snapshot: Snapshot, requestedAt: LocalMillis, now: LocalMillis, act?: Act): void {
    const { elapsed, fingerprint, generation, state } = snapshot
    const view = fleetViewOf(snapshot, this.membership, this.#openedBy, this.#lifter(act), now)
    this.#openedBy = view.openedBy
    // This instance closed by its own probes while the storage was away, and another has begun a half-open round since. It
    // stays closed until a leased probe of its own has reported that.
    const staysClosed = this.#isClosedAhead() && state._tag === "HalfOpen"
    const ended = this.local.adopt(staysClosed ? { ...view, state: { _tag: "Closed" } } : view, now)
    this.#reports.lifetimeOnly(ended, now)
    // What was so before this instance first asked has not taken that long to arrive.
    if (this.#isLoaded && this.snapshot.state._tag !== state._tag) this.lagMillis = elapsed
    this.#know(snapshot, requestedAt, now)
    this.#proposals.forget()
    this.#vigil?.forget()
    this.#hearAlert(snapshot.alert, 0)
    this.#leases?.forgetBefore(generation)
    this.membership.log(messages.adopted, { circuit: this.local.name, state: state._tag, generation })
    this.membership.drift.compare(this.local.name, fingerprint)
    if (this.#isOpenAnywhere() && this.membership.polls) this.schedule()
  }

  /**
   * How long this process slept since the last answer, by the storage's clock: its own stood still meanwhile. Before the first
   * answer only the wall clock can tell. Less than an answer and the one before may have been under way for is no sleep.
   */
  #sleptUntil({ asOf }: Snapshot, now: LocalMillis): number {
    const expected = this.storageTime(now)
    const aheadMillis = expected === undefined ? this.#sleptMillis() : asOf - expected
    return aheadMillis > 2 * REQUEST_DEADLINE_MILLIS ? aheadMillis : 0
  }

  /** How long this process slept since the view was requested, by the wall clock. */
  #sleptMillis(): number {
    return this.membership.connection.sleeps.since(this.#isLoaded ? this.requestedAt : this.#since)
  }

  /** The storage does not know a generation that it once confirmed. Beyond the idle time it may have expired, not been lost. */
  #putBack(snapshot: Snapshot, requestedAt: LocalMillis, now: LocalMillis): void {
    if (this.isChanging) return
    // Where only the storage's clock says so, it was set forward, and this process did not sleep.
    const sleptMillis = Math.min(this.#sleptUntil(snapshot, now), this.#sleptMillis())
    const age = now - this.answeredAt + sleptMillis
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
    const { pending } = this.#reports.outbox
    if (pending !== undefined) pending.generation = snapshot.generation
  }

  // -----------------------------------------------------------------------------
  // changes
  // -----------------------------------------------------------------------------

  change(change: Change, answered: (changed: Changed, requestedAt: LocalMillis) => void): void {
    const { storage } = this.membership.connection
    const requestedAt = this.#now()
    this.#send("change", () => storage.change(this.local.name, change), (changed) => {
      if (changed?.committed === true) this.logPersisted(changed.snapshot)
      if (changed !== undefined) answered(changed, requestedAt)
    })
  }

  probe(probe: Probe, answered: (probed: Probed | undefined) => void): void {
    const { storage } = this.membership.connection
    this.#send("probe", () => storage.probe(this.local.name, probe), answered)
  }

  #send<A extends Changed | Probed>(
    operation: string,
    request: () => Effect.Effect<A, StorageError>,
    answered: (answer: A | undefined) => void
  ): void {
    this.#exchange.send(operation, request, (answer) => {
      if (answer === undefined) this.#judgeAloneIfAway()
      answered(answer)
    })
  }

  /** This instance tripped. Under `evidence: any` it proposes the trip to the fleet, after the circuit is loaded. */
  tripped(reason: string, now: LocalMillis): void {
    const { batches, hasLeft, isPooled, isQuiet, log, policy } = this.membership
    log(messages.tripped, { circuit: this.local.name, reason })
    if (hasLeft || !policy.takesPart) return
    if (isPooled) {
      if (isQuiet) batches.sendNow(this)
      return
    }
    if (!this.#isLoaded) {
      batches.sendNow(this)
      this.addToRound()
    } else if (this.local.state !== "Closed") this.#proposeOwn()
    else if (this.snapshot.override?.kind === "MetricsOnly") this.#proposals.proposeOwn(reason, undefined, now)
  }

  /**
   * This instance has opened by itself, under `evidence: any`, and the fleet has not opened yet. Under `metricsOnly` it proposes no
   * trip, so its opening stays its own.
   */
  #hasToPropose(now: LocalMillis): boolean {
    const { isPooled, policy } = this.membership
    const opening = this.local.opening()
    return !isPooled && policy.takesPart && opening !== undefined && now < opening.until &&
      this.snapshot.state._tag === "Closed"
  }

  #proposeOwn(): void {
    const now = this.#now()
    if (!this.#hasToPropose(now) || this.isChanging || this.isAway) return
    const { reason = "", until } = this.local.opening()!
    this.#proposals.proposeOwn(reason, until - now, now)
  }

  operate(to: OperationTo, why: Why, existing: boolean): Effect.Effect<void, StorageError> {
    const { connection } = this.membership
    const { name } = this.local
    return Effect.flatMap(randomId, (id) =>
      Effect.callback<void, StorageError>((resume) => {
        const act: Act = { lifts: to._tag === "ClearOverride", actor: why.actor, requestedAt: this.#now() }
        this.#acts = [...this.#acts, act]
        const operation = { _tag: "Operation", id, known: this.snapshot.generation, existing, why, to } as const
        connection.send(
          { operation: "change", circuit: name },
          () => connection.storage.change(name, operation),
          (result) => resume(this.#operated(this.#exchange.checked("change", result), to._tag, act))
        )
      }))
  }

  #operated(
    result: Result.Result<Changed, StorageError>,
    operation: OperationTo["_tag"],
    act: Act
  ): Effect.Effect<void, StorageError> {
    this.#acts = this.#acts.filter((other) => other !== act)
    if (Result.isFailure(result)) return Effect.fail(result.failure)
    const { committed, snapshot } = result.success
    this.#exchange.noteAnswer()
    this.accept(snapshot, -1, act.requestedAt, act)
    if (!committed) return Effect.fail(this.#exchange.failure("change", "Denied", operation))
    this.logPersisted(snapshot)
    return Effect.void
  }

  /**
   * The actor who has lifted the override, if the adopted view has none any more. `answered` is the act that this view answers.
   * Another message may come before that answer, and tell of the one act in flight that lifts overrides.
   */
  #lifter(answered: Act | undefined): string | undefined {
    if (answered?.lifts === true) return answered.actor
    const lifting = this.#acts.filter(({ lifts }) => lifts)
    return lifting.length === 1 ? lifting[0]!.actor : undefined
  }

  // -----------------------------------------------------------------------------
  // leases
  // -----------------------------------------------------------------------------

  leave(now: LocalMillis): Leave {
    if (this.snapshot.state._tag === "Closed") return this.isAway ? "Alone" : "Own"
    const leave = this.#leases?.leave(now) ?? "Ask"
    return leave !== "Granted" && this.isAway ? "Alone" : leave
  }

  takeLease(now: LocalMillis): LeaseName | undefined {
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

  #noteFailure(line: Parameters<Exchange["noteFailure"]>[0], error: StorageError): void {
    this.#exchange.noteFailure(line, error)
    this.#judgeAloneIfAway()
  }

  #judgeAloneIfAway(): void {
    if (this.isAway) this.#leases?.judgeAlone()
  }

  // -----------------------------------------------------------------------------
  // log lines
  // -----------------------------------------------------------------------------

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
