/**
 * One circuit of one instance: its state, what it has counted, and who may pass.
 *
 * **Invariants**
 *
 * - `#become` is the only place where an epoch begins, and `#amend` the only other one that assigns the state.
 * - The gate is written here alone. `gate === 0` lets calls straight through, because it says that the circuit is closed
 *   without a ramp, that no override is set, that the policy counts and no more, that no call is timed for metrics or shed, that
 *   the circuit is in the fleet's rounds, and that no lease waits for a call.
 * - A permit, and a call that went straight through, are of one epoch. In a later one their outcome is late: it changes the
 *   lifetime counts and nothing else.
 * - While the circuit is closed, it keeps the error of a failure at most until the next success. Afterwards it keeps one only if
 *   that failure is part of what opened it.
 * - A change of the policy begins no epoch. What a call under way was admitted with stays with its permit.
 * - All fields are flat, and those that only a circuit with trouble needs are one object that is made with the first trouble: a
 *   keyed breaker may hold 100,000 circuits, and most never fail. `npm run bench` prints the bytes.
 */
import * as Exit from "effect/Exit"
import { type BreakerOpenError, BulkheadFullError } from "../BreakerError.ts"
import { advanceTo, carriedOver, recordIn, successCouldTrip, totalsAt, windowOf } from "../core/Evidence.ts"
import { Permit, type Refusal, type Settlement } from "../core/Permit.ts"
import type { Plan } from "../core/Plan.ts"
import * as State from "../core/State.ts"
import { shareOf } from "../core/Throttle.ts"
import type { LocalMillis } from "../core/Time.ts"
import { approach, type Evidence, type RuleWindow, type Totals, trips } from "../core/TripRule.ts"
import { makeWindows, type Window } from "../core/Window.ts"
import type { Snapshot } from "../Event.ts"
import type { OperationTo } from "../Storage/Storage.ts"
import { circuitName } from "./CircuitName.ts"
import { Tally } from "./Counts.ts"
import { type Counted, type Fleet, GATE_IDLE, GATE_LEASE, GATE_SHEDS, type GateBit, type Local } from "./fleet/Fleet.ts"
import { messages } from "./Messages.ts"
import { type Rejection, rejectionOf } from "./Rejection.ts"
import type { Shared } from "./Shared.ts"
import { approachOf, snapshotOf } from "./Snapshot.ts"
import { tellTransition } from "./Tracing.ts"

const GATE_STATE = 1
const GATE_OVERRIDE = 2
const GATE_POLICY = 4
/** The circuit was forgotten. */
const GATE_FORGOTTEN = 32
/** Calls are timed for metrics. */
const GATE_TIMED = 64
/** The bits that say nothing about the state. */
const GATE_KEPT = GATE_POLICY | GATE_IDLE | GATE_LEASE | GATE_SHEDS | GATE_FORGOTTEN | GATE_TIMED

/** The answer of `lossAt` for a circuit after its open time: more than any number of failures. */
export const OVERDUE = Number.MAX_SAFE_INTEGER

/** The fields that only a circuit needs which has failed, refused a call, has a bulkhead, or measures how long calls take. */
interface Trouble {
  failureAt: LocalMillis
  successAtFailure: number
  lastSuccessMillis: number | undefined
  lastFailureMillis: number | undefined
  /** The error of the last failure, for the rejections of the circuit that it may open. */
  lastFailure: unknown
  /** Places in the bulkhead that calls hold. */
  places: number
  /** Whether `Approaching` was published, and the circuit has not fallen back since. */
  hasApproached: boolean
  /** Whether it was told that calls are shed. */
  hasToldShedding: boolean
  /** The error of refused calls, good for one epoch, and where calls are shed, for as long as the same requests say so. */
  rejection: {
    readonly epoch: number
    readonly refusal: Refusal
    readonly by: State.OpenedBy | undefined
    readonly exit: Rejection
  } | undefined
  /** Made with the first refusal or change of state. */
  tally: Tally | undefined
}

/**
 * Where the fleet opens the circuit, this instance's last failure is part of the reason if it is no older than this. There is no
 * telling which failures were counted.
 */
const RECENT_FAILURE_MILLIS = 60_000

const callOutcomes = { Success: "success", Failure: "failure", Ignored: "ignored" } as const

/** So far below `approachAt` a circuit has fallen back, and its next approach is published again. */
const APPROACH_HYSTERESIS = 0.1

const TOO_MANY_OPEN = "too many keys are open"

/** From this share on it is told that calls are shed, because few calls may do so by chance. */
const TOLD_SHARE = 0.05

/** Operators' acts that a circuit without a fleet can do by itself. */
export type Act = Extract<OperationTo, { readonly _tag: "Override" | "ClearOverride" | "HalfOpen" | "Reset" }>

export class Circuit implements Local, Evidence {
  readonly shared: Shared
  readonly key: string | undefined
  gate: number
  /** The state's epoch, where the hot path finds it. */
  epoch = State.initial.epoch
  /** Calls that were admitted and have not ended. Those that have timed out run on. */
  inFlight = 0
  /** The second in which a call last looked it up by its key. */
  usedAtSecond = 0
  success = 0
  failure = 0
  ignored = 0
  timeout = 0
  slow = 0
  rejected = 0
  lastSuccessAt: LocalMillis = NaN
  /** Failures of this epoch since the last success. */
  streak = 0
  /** The first of the windows that the rule looks at, linked in the order of the plan's. */
  windows: Window | undefined = undefined
  /** Its membership in the fleet, made when there is something to know. */
  fleet: Fleet | undefined = undefined
  #state: State.State = State.initial
  #trouble: Trouble | undefined = undefined

  constructor(shared: Shared, key: string | undefined) {
    this.shared = shared
    this.key = key
    this.gate = (shared.needsPermits ? GATE_POLICY : 0) | (shared.fleet === undefined ? 0 : GATE_IDLE) |
      (shared.meter.isTiming ? GATE_TIMED : 0)
    this.#clearEvidence()
  }

  get name(): string {
    return circuitName(this.shared.name, this.key)
  }

  // -----------------------------------------------------------------------------
  // the one writer
  // -----------------------------------------------------------------------------

  /** Changes the state. The order of the steps is a rule of the protocol. Returns the counts of the epoch that ended. */
  #become(
    next: State.State,
    now: LocalMillis,
    isTransition = State.isTransition(this.#state, next),
    evidence?: unknown
  ): Counted {
    // 1. Listeners see the counts that caused it.
    const log = isTransition ? this.#publishTransition(next, now, evidence) : undefined
    if (isTransition) this.#tallied().moved(this.#state._tag, next)
    const from = this.#state._tag
    // 2. The counts of this epoch are read before they are forgotten.
    const ended = this.counted()
    // 3. The new epoch makes the outcomes of running calls late.
    this.#state = next
    this.epoch = next.epoch
    // 4. Nothing that was admitted before is evidence from here on.
    this.#clearEvidence()
    // Only an operator makes a closed circuit half-open, and not because of a failure.
    if (next._tag === "Closed" || (next._tag === "HalfOpen" && from === "Closed")) this.forgetErrors()
    // 5. The next call meets the new state.
    this.#setGate()
    if (isTransition) this.shared.meter.moved()
    // A logger is code of the user's, so it runs when nothing is half done.
    log?.()
    this.#setShedding(0, now)
    return ended
  }

  /** A transition of the circuit's own. The fleet reports what the epoch had counted. */
  #move(next: State.State, now: LocalMillis, isTransition?: boolean): void {
    const ended = this.#become(next, now, isTransition)
    this.fleet?.epochEnded(ended, now)
  }

  /** Changes details within an epoch: no event is published, and running calls are not late. */
  #amend(next: State.State): void {
    this.#state = next
    this.#setGate()
  }

  #apply(next: State.State, now: LocalMillis): void {
    if (next.epoch === this.epoch) this.#amend(next)
    else this.#move(next, now)
  }

  #setGate(): void {
    const state = this.#state
    const isStraight = state._tag === "Closed" && state.rampUntil === -Infinity
    this.gate = (this.gate & GATE_KEPT) | (isStraight ? 0 : GATE_STATE) |
      (state.override === undefined ? 0 : GATE_OVERRIDE)
  }

  isShut(bit: GateBit): boolean {
    return (this.gate & bit) !== 0
  }

  shut(bit: GateBit): void {
    this.gate |= bit
  }

  open(bit: GateBit): void {
    this.gate &= ~bit
  }

  #clearEvidence(): void {
    this.streak = 0
    this.windows = makeWindows(this.shared)
    if (this.#trouble !== undefined) this.#trouble.hasApproached = false
  }

  // -----------------------------------------------------------------------------
  // admission
  // -----------------------------------------------------------------------------

  /** Whether the state lets calls through: nothing but the policy or the fleet shuts the gate. */
  isClosed(): boolean {
    return (this.gate & ~GATE_KEPT) === 0
  }

  /** Whether calls are timed for metrics. */
  get isTimed(): boolean {
    return (this.gate & GATE_TIMED) !== 0
  }

  /** Begins or ends timing calls, as the breaker's meter says. */
  setTimed(): void {
    this.gate = this.shared.meter.isTiming ? this.gate | GATE_TIMED : this.gate & ~GATE_TIMED
  }

  /** Whether the policy says `metricsOnly`. */
  get #isShadow(): boolean {
    return this.shared.enforcement === "metricsOnly"
  }

  /** Why a call would be refused. Takes no permit and moves nothing. */
  refusalAt(now: LocalMillis): Refusal | undefined {
    const refusal = State.refusalOf(this.#state, now)
    if (this.#isShadow) return refusal === "ForcedOpen" ? refusal : undefined
    if (refusal !== undefined || State.overrideAt(this.#state, now) !== undefined) return refusal
    return this.#state._tag === "Closed" ? undefined : this.#refusalOfProbe(this.#leave(now), now)
  }

  /**
   * Admits a call or refuses it, and moves on what time has moved. `Ask`: only the fleet can say, so a lease has to be requested
   * first. `Full`: `maxConcurrent` calls are running. `metricsOnly` of the reference refuses nothing, and that of the policy nothing
   * but what an operator forces open.
   */
  admit(now: LocalMillis, metricsOnly = false): Permit | Refusal | "Full" | "Ask" {
    const override = this.#expireOverride(now)
    if (override?.mode === "ForcedOpen" && !metricsOnly) return "ForcedOpen"
    if (override?.mode === "Disabled") return this.#permit(now, { recorded: false })
    if (metricsOnly || this.#isShadow || override !== undefined) {
      const refusal = this.#unenforcedAt(override, now)
      if (refusal !== undefined) this.#tallied().ran(refusal)
      return this.#permit(now, { metricsOnly: true })
    }
    const state = this.#state
    if (state._tag === "Open" && now < state.until) return "Open"
    if (state._tag !== "Closed") return this.#admitProbe(this.#leave(now), now)
    if (this.isFull()) return "Full"
    // This instance closed by its own probes while the storage was away: a lease lets it report that.
    const leased = this.isShut(GATE_LEASE) ? this.#takeLease(now) : undefined
    if (leased !== undefined) return leased
    if (this.#sheds(now)) return "Throttled"
    return this.#admitOnRamp(state, now) ? this.#permit(now, {}) : "Ramp"
  }

  #permit(now: LocalMillis, kind: ConstructorParameters<typeof Permit>[2]): Permit {
    return new Permit(this.epoch, now, kind, this.shared.slowerThanMillis)
  }

  /** Why a call that is only measured would be refused. */
  #unenforcedAt(override: State.Override | undefined, now: LocalMillis): Refusal | "Full" | undefined {
    const state = this.#state
    if (override?.mode === "ForcedOpen") return "ForcedOpen"
    if (state._tag === "Open") return now < state.until ? "Open" : undefined
    if (state._tag === "HalfOpen") return this.#refusalOfProbe("Own", now)
    if (this.isFull()) return "Full"
    if (this.#sheds(now)) return "Throttled"
    // By chance, because a ramp adds up the calls that it decides on.
    return this.shared.random() < State.rampShare(this.shared, state, now) ? undefined : "Ramp"
  }

  #leave(now: LocalMillis) {
    return this.fleet === undefined ? "Own" : this.fleet.leave(now)
  }

  /** Why no probe may run; `undefined` also where a lease has to be requested first. */
  #refusalOfProbe(leave: ReturnType<Fleet["leave"]>, now: LocalMillis): "Open" | "HalfOpen" | undefined {
    const state = this.#state
    if (leave === "Denied") return state._tag === "Open" ? "Open" : "HalfOpen"
    if (state._tag === "HalfOpen" && now < state.probesFrom) return "HalfOpen"
    if (state._tag !== "HalfOpen" || (leave !== "Own" && leave !== "Alone")) return undefined
    const most = leave === "Alone" ? 1 : this.shared.probes
    return State.placesTaken(state, now).length >= most ? "HalfOpen" : undefined
  }

  #admitProbe(leave: ReturnType<Fleet["leave"]>, now: LocalMillis): Permit | Refusal | "Full" | "Ask" {
    const refusal = this.#refusalOfProbe(leave, now)
    if (refusal !== undefined) return refusal
    if (this.isFull()) return "Full"
    if (leave === "Granted") return this.#takeLease(now) ?? "Ask"
    if (leave === "Ask") return "Ask"
    if (this.#state._tag === "Open") this.#move(State.halfOpened(this.#state, "the open time is over", now), now)
    const permit = this.#permit(now, { probe: true, until: now + this.shared.leaseMillis })
    this.#amend(State.probeTaken(this.#state as State.HalfOpen, permit))
    return permit
  }

  #takeLease(now: LocalMillis): Permit | undefined {
    const lease = this.fleet?.takeLease(now)
    return lease && this.#permit(now, { probe: true, lease })
  }

  #admitOnRamp(closed: State.Closed, now: LocalMillis): boolean {
    const { admits, state } = State.ramped(this.shared, closed, now)
    if (state !== closed) this.#amend(state)
    return admits
  }

  /** Whether `maxConcurrent` calls are running. */
  isFull(): boolean {
    const { maxConcurrent } = this.shared
    return maxConcurrent !== undefined && (this.#trouble?.places ?? 0) >= maxConcurrent
  }

  /** Draws whether a call is shed. */
  #sheds(now: LocalMillis): boolean {
    return this.isShut(GATE_SHEDS) && this.shared.random() < this.#noteShedding(now)
  }

  /** The share of the calls that is shed. A circuit that is not closed has no such evidence. */
  shedShare(now: LocalMillis): number {
    const { throttle } = this.shared
    if (throttle === undefined || this.#state._tag !== "Closed") return 0
    const own = windowOf(this.shared, this.windows, throttle.window)
    own.advance(now)
    return shareOf(throttle, own, this.fleet?.requests(now))
  }

  /** Whose requests say so, where calls are shed. */
  shedsBecauseOf(): State.OpenedBy {
    const { throttle } = this.shared
    const own = throttle && shareOf(throttle, windowOf(this.shared, this.windows, throttle.window), undefined)
    return own === 0 ? "fleet" : "instance"
  }

  /** The same, and from now on calls are shed or not as it says. */
  #noteShedding(now: LocalMillis): number {
    const share = this.shedShare(now)
    this.#setShedding(share, now)
    return share
  }

  #setShedding(share: number, now: LocalMillis): void {
    if (share > 0) this.shut(GATE_SHEDS)
    else this.open(GATE_SHEDS)
    const hasTold = this.#trouble?.hasToldShedding === true
    if (hasTold ? share > 0 : share < TOLD_SHARE) return
    const trouble = this.#inTrouble()
    trouble.hasToldShedding = !hasTold
    this.shared.transitionLog.shedding(this.name, share, now)
    const { hub } = this.shared
    if (hub.listening) hub.publish({ _tag: "Throttling", circuit: this.name, share, snapshot: this.snapshot(now) })
  }

  /** The override in force. One that has run out is lifted, and told. */
  #expireOverride(now: LocalMillis): State.Override | undefined {
    const { override } = this.#state
    if (override === undefined || now < override.until) return override
    this.#move(State.overridden(this.#state, undefined), now)
    this.#publishOverride("expired", override, now)
    return undefined
  }

  /** The override in force before a change that lifts or replaces it. One that has run out is told. */
  #overrideBefore(now: LocalMillis): State.Override | undefined {
    const { override } = this.#state
    if (override === undefined || now < override.until) return override
    this.#publishOverride("expired", override, now)
    return undefined
  }

  // -----------------------------------------------------------------------------
  // outcomes
  // -----------------------------------------------------------------------------

  /** A call that went straight through succeeded. `now` is as fine as a tick, so what could trip is decided on the exact time. */
  succeeded(epoch: number, now: LocalMillis): void {
    this.success++
    this.lastSuccessAt = now
    if (epoch !== this.epoch) this.fleet?.notEvidence(false, false)
    else if (this.windows === undefined) {
      if (this.#endStreak()) this.forgetErrors()
    } else this.#record(successCouldTrip(this.windows) ? this.shared.ticker.exact() : now, false, false, 0, false)
  }

  /** A call that went straight through failed. */
  failed(epoch: number, now: LocalMillis, hintMillis: number, error: unknown): void {
    const isLate = epoch !== this.epoch
    if (!isLate) this.#keepError(error)
    this.#countFailure(now, error, false)
    if (isLate) this.fleet?.notEvidence(true, false)
    else this.#record(now, true, false, hintMillis, false)
  }

  /** Counts the outcome of a permitted call and makes the transition that follows. A second settlement does nothing. */
  settle(permit: Permit, now: LocalMillis, settlement: Settlement): void {
    const { error, hintMillis, outcome, slow, timeout } = settlement
    if (permit.spent) return
    permit.spent = true
    if (!permit.recorded) return
    const isLate = permit.epoch !== this.epoch
    const { trace } = this.shared
    if (trace !== undefined) trace(messages.callEnded, { circuit: this.name, outcome, slow, timeout, late: isLate })
    if (!isLate && outcome === "Failure") this.#keepError(error)
    if (timeout) this.timeout++
    if (this.isTimed) this.shared.meter.took(timeout ? "timeout" : callOutcomes[outcome], now - permit.startedAt)
    if (outcome === "Ignored") this.ignored++
    else {
      if (slow) this.slow++
      if (permit.slowerThanMillis !== undefined) this.#tookMillis(outcome, now - permit.startedAt)
      if (outcome === "Failure") this.#countFailure(now, error, timeout)
      else {
        this.success++
        this.lastSuccessAt = now
      }
    }
    const state = this.#state
    // A call that is only measured must not open the circuit for the fleet.
    const isMeasured = permit.metricsOnly && (this.#isShadow || state.override === undefined)
    if ((isLate || permit.probe || isMeasured) && outcome !== "Ignored") {
      this.fleet?.notEvidence(outcome === "Failure", slow)
    }
    // The state that a late probe was to judge is over, so it only gives its place back.
    const judged = isLate ? "Ignored" : outcome === "Success" && slow ? "Failure" : outcome
    if (permit.lease !== undefined) {
      this.fleet?.probeEnded(permit, { outcome: judged, slow, timeout, hintMillis: isLate ? 0 : hintMillis }, now)
    } else if (isLate) return
    else if (state._tag === "HalfOpen" && permit.probe) {
      this.#apply(State.probeEnded(this.shared, state, permit, judged, hintMillis, now), now)
    } else if (state._tag === "Closed" && outcome !== "Ignored") {
      this.#record(now, outcome === "Failure", slow, hintMillis, permit.metricsOnly)
    }
  }

  /** Takes an outcome of this epoch into the evidence of a closed circuit, and trips when the rule says so. */
  #record(now: LocalMillis, failed: boolean, slow: boolean, hintMillis: number, metricsOnly: boolean): void {
    const endsStreak = !failed && this.#endStreak()
    const isBad = failed || slow
    // It may have fallen back since the last one.
    if (isBad && this.#trouble?.hasApproached === true) this.#noteApproach(now)
    if (failed) {
      this.streak++
      if (hintMillis > 0) this.#amend(State.hinted(this.shared, this.#state, hintMillis, now))
    }
    recordIn(this.windows, now, failed, slow)
    const couldTrip = failed || successCouldTrip(this.windows)
    const reason = couldTrip ? trips(this.shared.rule, this) : undefined
    if (reason === undefined) {
      if (couldTrip && this.shared.throttle !== undefined) this.#noteShedding(now)
      if (isBad) this.#noteApproach(now)
      if (endsStreak) this.forgetErrors()
      return
    }
    // Of the call's and the present policy the weaker holds.
    const held = metricsOnly || this.#isShadow
      ? "metrics only"
      : this.shared.openKeys.mayOpen(now)
      ? undefined
      : TOO_MANY_OPEN
    if (held === undefined) this.#move(State.opened(this.shared, this.#state, reason, now), now)
    else this.#move(State.wouldHaveOpened(this.#state as State.Closed, `${reason} (${held})`), now, true)
    tellTransition(this, "Closed")
    this.join()?.tripped(this.#state.reason!, now)
  }

  /** Publishes that the circuit comes close to opening, once until it has fallen back. */
  #noteApproach(now: LocalMillis): void {
    const { approachAt, debug, hub } = this.shared
    if (approachAt === undefined || !(hub.listening || debug !== undefined)) return
    advanceTo(this.windows, now)
    const share = approachOf(this)
    if (this.#trouble?.hasApproached === true) {
      if (share <= approachAt - APPROACH_HYSTERESIS) this.#trouble.hasApproached = false
    } else if (share >= approachAt && share < 1) {
      this.#inTrouble().hasApproached = true
      const snapshot = this.snapshot(now)
      const isOfFleet = share > approach(this.shared.rule, this)
      const whyNot = (isOfFleet ? snapshot.fleet?.whyNot : snapshot.whyNot) ?? ""
      hub.publish({ _tag: "Approaching", circuit: this.name, share, whyNot, snapshot })
      debug?.(messages.approaching, { circuit: this.name, share, whyNot })
    }
  }

  /** A success ends the streak. Returns whether there was one. */
  #endStreak(): boolean {
    if (this.streak === 0) return false
    this.fleet?.streakEnded(this.streak, this.success - 1)
    this.streak = 0
    return true
  }

  #countFailure(now: LocalMillis, error: unknown, isTimeout: boolean): void {
    this.failure++
    const trouble = this.#inTrouble()
    trouble.failureAt = now
    trouble.successAtFailure = this.success
    this.join()?.failed()
    const { hub, meter } = this.shared
    meter.failed(error)
    if (!hub.listening) return
    hub.publish({ _tag: isTimeout ? "Timeout" : "Failure", circuit: this.name, error, snapshot: this.snapshot(now) })
  }

  /**
   * A call under a permit begins. It holds a place only where there is a bulkhead: a call that was under way before, without one, has
   * none to give back.
   */
  began(permit: Permit): void {
    this.inFlight++
    if (this.shared.maxConcurrent === undefined) return
    permit.place = true
    this.#inTrouble().places++
  }

  /** A call has timed out and runs on, so that its place in the bulkhead is free. */
  overran(permit: Permit): void {
    if (permit.place) this.#inTrouble().places--
    permit.place = false
  }

  /** A call under a permit has ended. */
  ended(permit: Permit): void {
    this.inFlight--
    this.overran(permit)
  }

  #tookMillis(outcome: "Success" | "Failure", millis: number): void {
    const trouble = this.#inTrouble()
    if (outcome === "Success") trouble.lastSuccessMillis = millis
    else trouble.lastFailureMillis = millis
  }

  #inTrouble(): Trouble {
    return this.#trouble ??= {
      failureAt: NaN,
      successAtFailure: 0,
      lastSuccessMillis: undefined,
      lastFailureMillis: undefined,
      lastFailure: undefined,
      places: 0,
      hasApproached: false,
      hasToldShedding: false,
      rejection: undefined,
      tally: undefined
    }
  }

  #tallied(): Tally {
    return this.#inTrouble().tally ??= new Tally()
  }

  #keepError(error: unknown): void {
    const trouble = this.#inTrouble()
    if (trouble.lastFailure === undefined) this.shared.keptErrors.add(this)
    trouble.lastFailure = error
  }

  /** Drops the error of the last failure, and the rejection that has it. */
  forgetErrors(): void {
    const trouble = this.#trouble
    if (trouble === undefined) return
    if (trouble.lastFailure !== undefined) this.shared.keptErrors.delete(this)
    trouble.lastFailure = undefined
    trouble.rejection = undefined
  }

  // -----------------------------------------------------------------------------
  // rejections
  // -----------------------------------------------------------------------------

  /** Counts and announces a refused call. */
  reject(refusal: Refusal, now: LocalMillis): Rejection {
    this.#expireOverride(now)
    this.#rejected(refusal, "BreakerOpenError", now)
    if (this.isShut(GATE_IDLE)) this.fleet?.schedule()
    return this.rejection(refusal, now)
  }

  rejectFull(now: LocalMillis): Exit.Exit<never, BulkheadFullError> {
    this.#rejected("Full", "BulkheadFullError", now)
    return Exit.fail(new BulkheadFullError({ circuit: this.name, maxConcurrent: this.shared.maxConcurrent! }))
  }

  #rejected(refusal: Refusal | "Full", by: "BreakerOpenError" | "BulkheadFullError", now: LocalMillis): void {
    this.rejected++
    this.#tallied().refused(refusal)
    const { throttle } = this.shared
    if (refusal === "Throttled") windowOf(this.shared, this.windows, throttle!.window).recordShed(now)
    const { hub, trace } = this.shared
    if (trace !== undefined) trace(messages.callRejected, { circuit: this.name, refusal })
    if (hub.listening) hub.publish({ _tag: "Rejected", circuit: this.name, by, snapshot: this.snapshot(now) })
  }

  /** The error of a refused call, which all that are refused for the same cause share. */
  rejection(refusal: Refusal, now: LocalMillis): Exit.Exit<never, BreakerOpenError> {
    const trouble = this.#inTrouble()
    const by = refusal === "Throttled" ? this.shedsBecauseOf() : undefined
    let { rejection } = trouble
    if (
      rejection === undefined || rejection.epoch !== this.epoch || rejection.refusal !== refusal || rejection.by !== by
    ) trouble.rejection = rejection = { epoch: this.epoch, refusal, by, exit: rejectionOf(this, refusal, now) }
    return rejection.exit
  }

  get lastFailure(): unknown {
    return this.#trouble?.lastFailure
  }

  // -----------------------------------------------------------------------------
  // the fleet
  // -----------------------------------------------------------------------------

  join(): Fleet | undefined {
    if ((this.gate & GATE_FORGOTTEN) !== 0) return undefined
    return this.fleet ??= this.shared.fleet?.join(this)
  }

  /** Whether no call runs, and the fleet has all that there is to report. */
  get isQuiet(): boolean {
    return this.inFlight === 0 && this.fleet?.isQuiet !== false
  }

  /** Another circuit may have this name from here on, so this one is no longer of the fleet. Calls that still run are not reported. */
  forget(): void {
    if ((this.gate & GATE_FORGOTTEN) === 0) this.shared.meter.gone.addCircuit(this)
    this.gate |= GATE_FORGOTTEN
    this.fleet?.end()
    this.fleet = undefined
  }

  /** A call came. Returns what it waits for before it is decided on. */
  beforeCall(): ReturnType<Fleet["beforeCall"]> {
    const entry = this.shared.fleet
    const isIdle = this.isShut(GATE_IDLE)
    if (entry === undefined || !(isIdle || entry.readsBeforeCalls)) return undefined
    this.open(GATE_IDLE)
    const fleet = this.join()
    const wait = fleet?.beforeCall(isIdle)
    // Most circuits of a storage that nobody else writes to have nothing to remember.
    if (isIdle && fleet?.isDispensable === true) this.fleet = undefined
    return wait
  }

  adopt(view: State.FleetView, now: LocalMillis): Counted {
    const before = this.#overrideBefore(now)
    const isRecent = now - (this.#trouble?.failureAt ?? NaN) <= RECENT_FAILURE_MILLIS
    if (this.#state._tag === "Closed" && !isRecent) this.forgetErrors()
    const next = State.adopted(this.shared, this.#state, view, now)
    const ended = this.#become(next, now, undefined, view.evidence ?? { by: "fleet" })
    this.#publishOverrideChange(before, view.operator, now)
    return ended
  }

  refresh(state: State.FleetState, overrideUntil: LocalMillis): void {
    const next = State.refreshed(this.#state, state, overrideUntil)
    if (next !== this.#state) this.#amend(next)
  }

  evidenceRead(now: LocalMillis): void {
    if (this.shared.throttle !== undefined) this.#noteShedding(now)
    this.#noteApproach(now)
  }

  isHeldBack(reason: string, now: LocalMillis): boolean {
    const state = this.#state
    if (state._tag !== "Closed" || this.shared.openKeys.mayOpen(now)) return false
    const next = State.wouldHaveOpened(state, `${reason} (${TOO_MANY_OPEN})`)
    this.shared.transitionLog.changing(this, next, { by: "fleet" }, now)()
    return true
  }

  judgeAlone(outcome: Settlement["outcome"], hintMillis: number, now: LocalMillis): void {
    const state = this.#state
    if (state._tag === "HalfOpen") {
      this.#apply(State.probeEnded(this.shared, state, undefined, outcome, hintMillis, now), now)
    }
  }

  // -----------------------------------------------------------------------------
  // the policy
  // -----------------------------------------------------------------------------

  /** The breaker has another policy than `before`. The state and the streak stay, and what the windows have in common. */
  policyReplaced(before: Pick<Plan, "windows" | "slowerThanMillis" | "rampMillis">, now: LocalMillis): void {
    const { needsPermits, rampMillis, slowerThanMillis } = this.shared
    this.gate = (this.gate & ~GATE_POLICY) | (needsPermits ? GATE_POLICY : 0)
    this.windows = carriedOver(before, this.windows, this.shared)
    this.#noteShedding(now)
    const next = State.reramped(this.#state, before.rampMillis, rampMillis, now)
    if (next !== this.#state) this.#amend(next)
    const stopsMeasuring = before.slowerThanMillis !== undefined && slowerThanMillis === undefined
    if (!stopsMeasuring || this.#trouble === undefined) return
    this.#trouble.lastSuccessMillis = this.#trouble.lastFailureMillis = undefined
  }

  /** An operator's act on a circuit that has no fleet. */
  operate(
    act: Act,
    { actor = "unknown", reason }: { readonly actor?: string | undefined; readonly reason: string },
    now: LocalMillis
  ): void {
    const before = this.#overrideBefore(now)
    switch (act._tag) {
      case "Override": {
        const until = act.remaining === undefined ? Infinity : now + act.remaining
        this.#move(State.overridden(this.#state, { mode: act.kind, reason: act.reason, actor: act.actor, until }), now)
        break
      }
      case "ClearOverride":
        if (before !== undefined) this.#move(State.overridden(this.#state, undefined), now)
        break
      case "HalfOpen":
        return this.#move(State.halfOpened(this.#state, reason, now), now)
      case "Reset":
        return this.#move(State.resetAt(this.#state, now), now)
    }
    this.#publishOverrideChange(before, actor, now)
  }

  // -----------------------------------------------------------------------------
  // reading
  // -----------------------------------------------------------------------------

  get state(): State.State["_tag"] {
    return this.#state._tag
  }

  get current(): State.State {
    return this.#state
  }

  /** Whether a call came here, or the state was ever changed. */
  get isInUse(): boolean {
    return this.epoch !== State.initial.epoch || this.inFlight > 0 ||
      this.success + this.failure + this.ignored + this.rejected > 0
  }

  opening(): ReturnType<Local["opening"]> {
    const state = this.#state
    return state._tag === "Open" ? { reason: state.reason, until: state.until } : undefined
  }

  nextOpenForMillis(now: LocalMillis): number {
    return this.shared.openForMillis(State.openingsAt(this.#state, now) + 1)
  }

  counted(): Counted {
    const { failure, ignored, rejected, slow, streak, success, timeout } = this
    return {
      success,
      failure,
      ignored,
      timeout,
      slow,
      rejected,
      shed: this.tally?.shed ?? 0,
      streak,
      hintUntil: this.#state.hintUntil,
      lastSuccessAt: this.lastSuccessAt,
      lastFailureAt: this.#trouble?.failureAt ?? NaN,
      lastSuccessMillis: this.#trouble?.lastSuccessMillis,
      lastFailureMillis: this.#trouble?.lastFailureMillis
    }
  }

  get tally(): Tally | undefined {
    return this.#trouble?.tally
  }

  /** Whether anything has happened here that is no success. */
  get hadTrouble(): boolean {
    return this.#trouble !== undefined
  }

  get successAtFailure(): number {
    return this.#trouble?.successAtFailure ?? 0
  }

  /** The totals that the trip rule is judged on. */
  totals(of: RuleWindow): Totals {
    return windowOf(this.shared, this.windows, of)
  }

  totalsAt(now: LocalMillis): ReturnType<typeof totalsAt> {
    return totalsAt(this.shared, this.windows, now)
  }

  snapshot(now: LocalMillis): Snapshot {
    return snapshotOf(this, now)
  }

  /** When a call last looked it up by its key, or ended and was counted. */
  lastUseAt(): LocalMillis {
    return Math.max(this.usedAtSecond * 1000, this.#trouble?.failureAt || 0, this.lastSuccessAt || 0)
  }

  /**
   * How much would be lost with this circuit. 0: nothing. Then the failures in memory of a closed one. Then an open one whose time is
   * over, because no call has come for it. `Infinity`: it protects its dependency now, or obeys an operator.
   */
  lossAt(now: LocalMillis): number {
    const state = this.#state
    if (State.overrideAt(state, now) !== undefined || this.isShut(GATE_SHEDS)) return Infinity
    if (state._tag === "Open" && now >= state.until) return OVERDUE
    if (state._tag !== "Closed" || State.openingsAt(state, now) > 0 || now < state.rampUntil) return Infinity
    return this.totalsAt(now).reduce((most, { failure, slow }) => Math.max(most, failure + slow), this.streak)
  }

  /** Whether nothing that runs out is still running. */
  isOver(now: LocalMillis): boolean {
    return State.isOver(this.#state, now)
  }

  // -----------------------------------------------------------------------------
  // events and log lines: no event is made while nobody listens
  // -----------------------------------------------------------------------------

  /** Returns what logs the transition once it is made. */
  #publishTransition(next: State.State, now: LocalMillis, evidence: unknown): () => void {
    const { hub, transitionLog } = this.shared
    if (hub.listening) {
      hub.publish({
        _tag: "Transition",
        circuit: this.name,
        from: this.#state._tag,
        to: next._tag,
        reason: next.reason ?? "",
        snapshot: this.snapshot(now)
      })
    }
    return transitionLog.changing(this, next, evidence, now)
  }

  #publishOverrideChange(before: State.Override | undefined, actor: string | undefined, now: LocalMillis): void {
    const { override } = this.#state
    if (override === undefined) {
      if (before !== undefined) this.#publishOverride("cleared", { ...before, actor: actor ?? "unknown" }, now)
    } else if (
      before?.mode !== override.mode || before.reason !== override.reason || before.actor !== override.actor
    ) this.#publishOverride("set", override, now)
  }

  #publishOverride(
    change: "set" | "cleared" | "expired",
    override: State.Override,
    now: LocalMillis
  ): void {
    const { hub, transitionLog } = this.shared
    transitionLog.override(this.name, change, override, now)
    if (!hub.listening) return
    const { actor, mode, reason } = override
    hub.publish({ _tag: "Override", circuit: this.name, change, mode, reason, actor, snapshot: this.snapshot(now) })
  }
}
