/**
 * The state machine of one circuit in one instance: closed, open, half-open, and what an operator put on top of it.
 *
 * Pure: it holds numbers, reads no clock (every question carries `now`, milliseconds that never go backwards) and runs
 * nothing. Open and half-open move on when they are asked, not by a timer. Reading (`view`) never writes.
 *
 * ```text
 *            trips                    open time is over, asked to admit
 *   Closed ─────────▶ Open ──────────────────────────▶ HalfOpen
 *     ▲                ▲      a probe fails or lapses     │ │
 *     │                └──────────────────────────────────┘ │
 *     └─────────────────────────────────────────────────────┘ enough probes succeed
 * ```
 *
 * Every change, an override and a reset included, begins a new `epoch`, with empty windows. A permit carries the epoch it was given in, and a
 * permit of another epoch settles nothing but the lifetime counts: late results cannot move the machine (the idea of
 * gobreaker's generations).
 *
 * A machine runs alone, or follows a fleet: then it takes over the fleet's states as they come (`adopt`), and what is the
 * fleet's to decide it asks the hooks for.
 */
import type { LeaseName } from "./Record.ts"
import type { Evidence, RuleWindow, Totals, TripRule } from "./TripRule.ts"
import { sameWindow, trips } from "./TripRule.ts"
import { makeWindows, type Window } from "./Window.ts"

/** What a machine goes by. Durations in milliseconds. */
export interface Plan {
  readonly rule: TripRule
  /** The windows that the rule looks at. */
  readonly windows: ReadonlyArray<RuleWindow>
  /** How long the n-th consecutive opening lasts, n from 1. */
  readonly openFor: (opening: number) => number
  /** Bounds what a `Retry-After` hint can make of it. */
  readonly maxOpenFor: number
  /** A call that takes this long is slow; `undefined` where no rule asks. */
  readonly slowerThan: number | undefined
  /** How many probes may run at once in half-open. */
  readonly probes: number
  /** How many of them must succeed to close. */
  readonly successes: number
  /** After this long a probe that has not settled counts as failed. */
  readonly lease: number
  /** How long a growing share of the calls is admitted after closing; 0 for all at once. */
  readonly ramp: number
}

export type State = "Closed" | "Open" | "HalfOpen"
export type OverrideMode = "ForcedOpen" | "Disabled" | "MetricsOnly"
/** On whose evidence a circuit opened. */
export type OpenedBy = "instance" | "fleet"

/** The operator's will on top of the state. `until` is `Infinity` where it does not expire. */
export interface Override {
  readonly mode: OverrideMode
  readonly reason: string
  readonly actor: string
  readonly until: number
}

/** What every state remembers of how the circuit came into it, and what most circuits never have: their memory counts. */
interface Past {
  readonly since: number
  readonly reason: string | undefined
  readonly openedBy: OpenedBy
  /** Whether the fleet is in it, too. */
  readonly adopted: boolean
  /** Openings in a row, as the open time counts them. */
  readonly openings: number
  /** How long the last of them was to last. */
  readonly openFor: number
  readonly timesOpened: number
  /** The longest `Retry-After` that was heard in it, 0 for none. */
  readonly hintUntil: number
  readonly override: Override | undefined
}
interface Closed extends Past {
  readonly _tag: "Closed"
  /** Until this time calls are admitted by share. */
  readonly rampUntil: number
  /** The shares that refused calls have left over, towards admitting the next. */
  readonly credit: number
  /** From this time on the openings are forgotten. */
  readonly calmAt: number
}
interface Open extends Past {
  readonly _tag: "Open"
  readonly until: number
}
interface HalfOpen extends Past {
  readonly _tag: "HalfOpen"
  readonly probes: ReadonlyArray<Permit>
  readonly successes: number
  /** When the fleet has a place for a probe, as far as is known; of no use to a machine's own probes. */
  readonly freeAt: number
}

/** What a fleet has come to, by the machine's own clock. */
export interface Adopted extends Pick<Past, "since" | "reason" | "openedBy" | "openings" | "openFor" | "override"> {
  readonly state:
    | { readonly _tag: "Closed" }
    | { readonly _tag: "Open"; readonly until: number }
    | { readonly _tag: "HalfOpen"; readonly successes: number; readonly freeAt: number }
}

// Circuits that never opened share it: they are most, and their memory counts.
const neverOpened: Closed = {
  _tag: "Closed",
  since: -Infinity,
  reason: undefined,
  openedBy: "instance",
  adopted: false,
  openings: 0,
  openFor: 0,
  timesOpened: 0,
  hintUntil: 0,
  override: undefined,
  rampUntil: -Infinity,
  credit: 0,
  calmAt: -Infinity
}

/**
 * A change of the machine, announced before it is made, so that what caused it can still be read. From Closed to Closed is a
 * trip that was only to be reported.
 */
export interface Change {
  readonly from: State
  readonly to: State
  readonly reason: string
}

/** Why a call may not run now. */
export type Refusal = "Open" | "HalfOpen" | "ForcedOpen" | "Ramp"

/** An admission. It settles once; afterwards it is spent. */
export class Permit {
  readonly epoch: number
  /** Whether the call decides if a half-open circuit closes. */
  readonly probe: boolean
  readonly startedAt: number
  /** When the permit lapses; `Infinity` for all but probes. */
  readonly until: number
  /** Set where a trip is to be reported and not made. */
  readonly metricsOnly: boolean
  /** Not set where nothing is to be recorded. */
  readonly recorded: boolean
  /** The fleet's leave to probe. */
  readonly lease: LeaseName | undefined
  spent = false

  constructor(
    epoch: number,
    startedAt: number,
    kind: { probe?: boolean; until?: number; metricsOnly?: boolean; recorded?: boolean; lease?: LeaseName }
  ) {
    this.epoch = epoch
    this.startedAt = startedAt
    this.probe = kind.probe ?? false
    this.until = kind.until ?? Infinity
    this.metricsOnly = kind.metricsOnly ?? false
    this.recorded = kind.recorded ?? true
    this.lease = kind.lease
  }
}

/** How a call ended, as far as the machine cares. `hint` is a `Retry-After` in milliseconds, 0 for none. */
export interface Settlement {
  readonly outcome: "Success" | "Failure" | "Ignored"
  readonly slow: boolean
  readonly timeout: boolean
  readonly hint: number
  /** What a failure failed with; the machine only hands it on. */
  readonly error?: unknown
}

/** Milliseconds that calls took; nothing where there was none, or nobody looked. */
interface LastDurations {
  readonly success: number | undefined
  readonly failure: number | undefined
}

/** What is known of the last calls of a circuit that has failed, or is measured: most have not and are not, and their memory counts. */
interface Last {
  failureAt: number
  successAtFailure: number
  durations: LastDurations | undefined
}

/** What can be read of a machine at a time. Times are on the machine's own clock; a state that never changed has none. */
export interface View {
  readonly state: State
  readonly since: number | undefined
  /** When an open circuit takes a probe, or the next half-open place frees at the latest. */
  readonly retryAt: number | undefined
  readonly openings: number
  readonly override: Override | undefined
  readonly timesOpened: number
  readonly reason: string | undefined
  readonly openedBy: OpenedBy
  readonly windows: ReadonlyArray<{ readonly of: RuleWindow } & Totals>
}

const GATE_STATE = 1
/** The bit of a gate that an override shuts. */
export const GATE_OVERRIDE = 2
const GATE_POLICY = 4
/** The bit of a gate that is shut while its circuit has no part in the fleet's rounds: the next call brings it in. */
export const GATE_ASLEEP = 8
/** The bit of a gate that is shut while a lease waits for a call that uses it. */
export const GATE_LEASE = 16
const GATE_KEPT = GATE_POLICY | GATE_ASLEEP | GATE_LEASE

// The least share that a ramp starts with: of nothing, nothing would be learnt.
const LEAST_SHARE = 0.1

/** Milliseconds between two tellings of one time. */
const CLOSE = 100

const isClose = (a: number, b: number): boolean => Math.abs(a - b) < CLOSE

export class Machine<P extends Plan = Plan> implements Evidence {
  readonly plan: P
  /** 0 lets calls straight through; whoever finds anything else asks `admit`. */
  gate: number
  epoch = 1
  /** Failures since the last success. */
  streak = 0
  success = 0
  failure = 0
  ignored = 0
  timeout = 0
  slow = 0
  rejected = 0
  lastSuccessAt = NaN
  /** The first of the windows that the rule looks at, linked in the order of the plan's. */
  windows: Window | undefined = undefined
  #phase: Closed | Open | HalfOpen = neverOpened
  #last: Last | undefined = undefined

  /** `alwaysAsk` keeps the gate shut for policies that want more of every call than counting it. */
  constructor(plan: P, alwaysAsk: boolean) {
    this.plan = plan
    this.gate = alwaysAsk ? GATE_POLICY : 0
    this.#clearEvidence()
  }

  /** Called before every change. */
  protected changing(_change: Change, _now: number): void {}

  /** Called before an epoch ends, while its evidence is still there. */
  protected ending(_now: number): void {}

  /** Called when the machine has tripped by its own evidence. */
  protected tripped(_reason: string, _now: number): void {}

  /** Called for an outcome that is no evidence: a late one, or a probe's. */
  protected setAside(_failed: boolean, _slow: boolean): void {}

  /** Called for a success that ends a row of failures, while `streak` still counts them. */
  protected streakEnds(): void {}

  /**
   * Whose leave a probe needs: the machine's own, or the fleet's. That one may be there to be taken, may be asked for, or is
   * out of the question now.
   */
  protected leaseAt(_now: number): "Own" | "Granted" | "Ask" | "Denied" {
    return "Own"
  }

  /** Takes the lease that is there. */
  protected takeLease(_now: number): Permit | undefined {
    return undefined
  }

  /** Called with the outcome of a probe that has a lease. */
  protected settleLease(_permit: Permit, _now: number, _settlement: Settlement): void {}

  /** How many probes of its own may run at once. */
  protected ownProbes(): number {
    return this.plan.probes
  }

  /** Called when an override has run out. */
  protected overrideExpired(_override: Override, _now: number): void {}

  /** What the trip rule is judged on. */
  totals(of: RuleWindow): Totals {
    const window = this.plan.windows.findIndex((window) => sameWindow(window, of))
    return this.#windows()[window]!
  }

  get state(): State {
    return this.#phase._tag
  }

  get openedBy(): OpenedBy {
    return this.#phase.openedBy
  }

  /** Whether nothing but the policy makes a call ask. */
  isClosed(): boolean {
    return (this.gate & ~GATE_KEPT) === 0
  }

  /** Why a call would be refused, taking no permit and moving nothing: for a quick no. */
  refuses(now: number): Refusal | undefined {
    const override = this.#overrideAt(now)
    if (override !== undefined) return override.mode === "ForcedOpen" ? "ForcedOpen" : undefined
    const phase = this.#phase
    if (phase._tag === "Closed") return undefined
    if (phase._tag === "Open" && now < phase.until) return "Open"
    const lease = this.leaseAt(now)
    if (lease !== "Own") return lease === "Denied" ? phase._tag : undefined
    const full = phase._tag === "HalfOpen" && phase.probes.length >= this.ownProbes()
    return full && phase.probes.every((probe) => now < probe.until) ? "HalfOpen" : undefined
  }

  /**
   * Lets a call through or refuses it. Moves on what time has moved. `metricsOnly` refuses nothing. `Ask`: nobody knows before
   * the fleet was asked for a lease.
   */
  admit(now: number, metricsOnly = false): Permit | Refusal | "Ask" {
    const override = this.#expireOverride(now)
    if (override?.mode === "ForcedOpen" && !metricsOnly) return "ForcedOpen"
    if (override?.mode === "Disabled") return new Permit(this.epoch, now, { recorded: false })
    if (metricsOnly || override !== undefined) return new Permit(this.epoch, now, { metricsOnly: true })
    switch (this.#phase._tag) {
      case "Closed":
        // Its own probes have closed it while nobody answered: under a lease it can tell the fleet.
        if ((this.gate & GATE_LEASE) !== 0) {
          const permit = this.takeLease(now)
          if (permit !== undefined) return permit
        }
        return this.#admitOnRamp(now, this.#phase) ? new Permit(this.epoch, now, {}) : "Ramp"
      case "Open":
        return now < this.#phase.until ? "Open" : this.#admitLeased(now)
      case "HalfOpen":
        return this.#admitLeased(now)
    }
  }

  #admitLeased(now: number): Permit | Refusal | "Ask" {
    switch (this.leaseAt(now)) {
      case "Granted":
        return this.takeLease(now) ?? "Ask"
      case "Ask":
        return "Ask"
      case "Denied":
        return this.#phase._tag === "Open" ? "Open" : "HalfOpen"
      case "Own":
        if (this.#phase._tag === "Open") this.#halfOpen("the open time is over", now)
        return this.#admitProbe(now)
    }
  }

  /** Records how a permitted call ended and makes the change that follows. The second settlement of a permit does nothing. */
  settle(permit: Permit, now: number, { error, hint, outcome: ended, slow, timeout }: Settlement): void {
    if (permit.spent) return
    permit.spent = true
    if (!permit.recorded) return
    // A probe has failed when its lease is over, also while nobody has asked for its place.
    const outcome = permit.epoch === this.epoch && now >= permit.until ? "Failure" : ended
    if (timeout) this.timeout++
    if (outcome === "Ignored") this.ignored++
    else {
      if (slow) this.slow++
      if (this.plan.slowerThan !== undefined) this.#lastTook(outcome, now - permit.startedAt)
      if (outcome === "Success") this.countSuccess(now)
      else this.countFailure(now, error)
    }
    const phase = this.#phase
    const isLate = permit.epoch !== this.epoch
    // A fiber that is only to be watched must not open the circuit for the fleet either.
    const isWatched = permit.metricsOnly && phase.override === undefined
    if ((isLate || permit.probe || isWatched) && outcome !== "Ignored") this.setAside(outcome === "Failure", slow)
    if (isLate) return
    if (permit.lease !== undefined) {
      const ended = outcome === "Success" && slow ? "Failure" : outcome
      this.settleLease(permit, now, { outcome: ended, slow, timeout, hint })
    } else if (phase._tag === "HalfOpen" && permit.probe) {
      this.#settleProbe(permit, phase, now, outcome === "Success" && slow ? "Failure" : outcome, hint)
    } else if (phase._tag === "Closed" && outcome !== "Ignored") {
      this.record(now, outcome === "Failure", slow, hint, permit.metricsOnly)
    }
  }

  countSuccess(now: number): void {
    this.success++
    this.lastSuccessAt = now
  }

  countFailure(now: number, _error: unknown): void {
    this.failure++
    const last = this.#known()
    last.failureAt = now
    last.successAtFailure = this.success
  }

  get lastFailureAt(): number {
    return this.#last?.failureAt ?? NaN
  }

  /** What `success` was at the last failure: the rest came in a row. */
  get successAtFailure(): number {
    return this.#last?.successAtFailure ?? 0
  }

  /** What the last calls took, under a rule that looks at that: no other pays for it. */
  get durations(): LastDurations | undefined {
    return this.#last?.durations
  }

  #lastTook(outcome: "Success" | "Failure", took: number): void {
    const last = this.#known()
    const { failure, success } = last.durations ?? {}
    last.durations = outcome === "Success" ? { success: took, failure } : { success, failure: took }
  }

  #known(): Last {
    return this.#last ??= { failureAt: NaN, successAtFailure: 0, durations: undefined }
  }

  /** Takes an outcome of the current epoch, in Closed, into the evidence, and trips when the rule says so. */
  record(now: number, failed: boolean, slow: boolean, hint: number, metricsOnly: boolean): void {
    if (failed) this.streak++
    else this.endStreak()
    if (failed) this.#hear(hint, now)
    for (let window = this.windows; window !== undefined; window = window.next) window.record(now, failed, slow)
    if (!failed && !this.isSuspect()) return
    const reason = trips(this.plan.rule, this)
    if (reason === undefined) return
    if (metricsOnly) {
      const reported = `${reason} (metrics only)`
      this.changing({ from: "Closed", to: "Closed", reason: reported }, now)
      this.#become({ ...this.#phase, reason: reported, hintUntil: 0 }, now)
      return this.tripped(reported, now)
    }
    this.#open(now, reason)
    this.tripped(reason, now)
  }

  endStreak(): void {
    if (this.streak === 0) return
    this.streakEnds()
    this.streak = 0
  }

  /** Whether a success could trip it, too: there are failures or slow calls that it could complete a minimum for. */
  isSuspect(): boolean {
    for (let window = this.windows; window !== undefined; window = window.next) {
      if (window.failure > 0 || window.slow > 0) return true
    }
    return false
  }

  /** An operator's override: a new epoch, the state beneath as it was, its time running. `undefined` lifts it. */
  setOverride(override: Override | undefined, now: number): void {
    const phase = this.#phase
    // The epoch of its probes is over, so they could neither settle nor lapse.
    const probes = phase._tag === "HalfOpen" ? { probes: [] } : {}
    this.ending(now)
    this.#phase = { ...phase, ...probes, override, hintUntil: 0 }
    this.#nextEpoch()
  }

  /** Takes over what the fleet has come to: a new epoch, whatever the machine was in. */
  adopt({ state, ...past }: Adopted, now: number): void {
    const from = this.#phase
    const timesOpened = from.timesOpened + (state._tag === "Open" && from._tag !== "Open" ? 1 : 0)
    const common = { ...past, adopted: true, timesOpened, hintUntil: 0 }
    const isReported = from._tag === "Closed" && state._tag === "Closed" && past.reason !== from.reason &&
      past.override?.mode === "MetricsOnly"
    if (isReported) this.changing({ from: "Closed", to: "Closed", reason: past.reason ?? "" }, now)
    switch (state._tag) {
      case "Closed": {
        // Who was letting calls through goes on.
        const rampUntil = from._tag === "Closed"
          ? from.rampUntil
          : this.plan.ramp > 0
          ? now + this.plan.ramp
          : -Infinity
        const calmAt = past.openings === 0 ? -Infinity : past.since + past.openFor
        return this.#become({ ...common, _tag: "Closed", rampUntil, credit: 0, calmAt }, now)
      }
      case "Open":
        return this.#become({ ...common, ...state }, now)
      case "HalfOpen":
        return this.#become({ ...common, ...state, probes: [] }, now)
    }
  }

  /** Takes over what has become of the state that was adopted. What differs by no more than messages take is left as it is. */
  refresh(state: Adopted["state"]): void {
    const phase = this.#phase
    if (!phase.adopted) return
    if (phase._tag === "Open" && state._tag === "Open" && !isClose(phase.until, state.until)) {
      this.#phase = { ...phase, until: state.until }
    } else if (phase._tag === "HalfOpen" && state._tag === "HalfOpen") {
      const { freeAt, successes } = state
      if (successes !== phase.successes || !isClose(freeAt, phase.freeAt)) this.#phase = { ...phase, freeAt, successes }
    }
  }

  /** What the machine opened on and for how long, until when; `undefined` where it is not open. */
  opening(): { readonly reason: string | undefined; readonly until: number } | undefined {
    const phase = this.#phase
    return phase._tag === "Open" ? { reason: phase.reason, until: phase.until } : undefined
  }

  /** Until when a failure of this epoch asked to be left alone; 0 for none. */
  get hintUntil(): number {
    return this.#phase.hintUntil
  }

  /** How long the next opening would last. */
  nextOpenFor(now: number): number {
    return this.plan.openFor(this.#openingsAt(now) + 1)
  }

  /** Judges by itself how a probe ended that had the fleet's leave, for nobody can be told. */
  settleAlone(outcome: Settlement["outcome"], hint: number, now: number): void {
    const phase = this.#phase
    if (phase._tag === "HalfOpen") this.#settleProbe(undefined, phase, now, outcome, hint)
  }

  /** Closes from any state, with nothing remembered but the lifetime counts; an override stays. */
  reset(now: number): void {
    const { override, timesOpened } = this.#phase
    this.#become({ ...neverOpened, since: now, reason: "reset", override, timesOpened }, now)
  }

  /** Takes probes at once, from any state. */
  forceHalfOpen(now: number): void {
    this.#halfOpen("forced half-open", now)
  }

  /** The override in force at `now`, with nothing written. */
  #overrideAt(now: number): Override | undefined {
    const { override } = this.#phase
    return override !== undefined && now < override.until ? override : undefined
  }

  /** What can be read at `now`. Moves nothing: an open time that is over reads as Open until a call asks. */
  view(now: number): View {
    const phase = this.#phase
    return {
      state: phase._tag,
      since: phase.since === -Infinity ? undefined : phase.since,
      retryAt: this.retryAt(now),
      openings: this.#openingsAt(now),
      override: this.#overrideAt(now),
      reason: phase.reason,
      openedBy: phase.openedBy,
      timesOpened: phase.timesOpened,
      windows: this.#windows().map((window, i) => {
        window.advance(now)
        const { failure, slow, success } = window
        return { of: this.plan.windows[i]!, success, failure, slow }
      })
    }
  }

  /** Whether nothing would be lost with this machine: closed, no opening and no failure in memory, no override. */
  isCalm(now: number): boolean {
    return this.#phase._tag === "Closed" && this.streak === 0 && this.#openingsAt(now) === 0 &&
      this.#overrideAt(now) === undefined && this.#windows().every((window) => {
        window.advance(now)
        return window.failure === 0 && window.slow === 0
      })
  }

  /** Whether nothing that runs out is still running: no open time, no memory of one, no probe, no override. */
  isOver(now: number): boolean {
    const phase = this.#phase
    if (this.#overrideAt(now) !== undefined) return false
    switch (phase._tag) {
      case "Closed":
        return now >= phase.calmAt
      case "Open":
        return now >= phase.until + phase.openFor
      case "HalfOpen":
        return phase.probes.every((probe) => now >= probe.until) && now >= phase.since + phase.openFor
    }
  }

  /** When a refused call may come back; `undefined` where nobody knows (a forced open circuit) or nothing refuses. */
  retryAt(now: number): number | undefined {
    if (this.#overrideAt(now) !== undefined) return undefined
    const phase = this.#phase
    switch (phase._tag) {
      case "Open":
        return phase.until
      case "HalfOpen":
        if (phase.adopted && phase.probes.length === 0) return Math.max(now, phase.freeAt)
        // Leases are all as long as each other, so the first one given is the first to end.
        return phase.probes.length < this.plan.probes ? now : phase.probes[0]!.until
      case "Closed":
        return now < phase.rampUntil ? phase.rampUntil : undefined
    }
  }

  #expireOverride(now: number): Override | undefined {
    const { override } = this.#phase
    if (override === undefined || now < override.until) return override
    this.setOverride(undefined, now)
    this.overrideExpired(override, now)
    return undefined
  }

  #admitOnRamp(now: number, phase: Closed): boolean {
    if (phase.rampUntil === -Infinity) return true
    if (now >= phase.rampUntil) {
      this.#phase = { ...phase, rampUntil: -Infinity }
      this.#setGate()
      return true
    }
    const share = Math.max(LEAST_SHARE, 1 - (phase.rampUntil - now) / this.plan.ramp)
    const credit = phase.credit + share
    this.#phase = { ...phase, credit: credit < 1 ? credit : credit - 1 }
    return credit >= 1
  }

  #admitProbe(now: number): Permit | Refusal {
    const phase = this.#phase as HalfOpen
    const lapsed = phase.probes.find((probe) => probe.until <= now)
    if (lapsed !== undefined) {
      this.settle(lapsed, now, { outcome: "Failure", slow: false, timeout: false, hint: 0 })
      return "Open"
    }
    if (phase.probes.length >= this.ownProbes()) return "HalfOpen"
    const permit = new Permit(this.epoch, now, { probe: true, until: now + this.plan.lease })
    this.#phase = { ...phase, adopted: false, probes: [...phase.probes, permit] }
    return permit
  }

  #settleProbe(
    permit: Permit | undefined,
    phase: HalfOpen,
    now: number,
    outcome: Settlement["outcome"],
    hint: number
  ): void {
    const probes = phase.probes.filter((probe) => probe !== permit)
    if (outcome === "Failure") {
      this.#hear(hint, now)
      return this.#open(now, "a probe failed")
    }
    const successes = phase.successes + (outcome === "Success" ? 1 : 0)
    if (successes < this.plan.successes) {
      this.#phase = { ...phase, probes, successes }
      return
    }
    const rampUntil = this.plan.ramp > 0 ? now + this.plan.ramp : -Infinity
    const past = this.#past(`${successes} of ${this.plan.successes} probes succeeded`, now)
    this.#become({ ...past, _tag: "Closed", rampUntil, credit: 0, calmAt: now + phase.openFor }, now)
  }

  #open(now: number, reason: string): void {
    const openings = this.#openingsAt(now) + 1
    const until = Math.max(now + this.plan.openFor(openings), this.#phase.hintUntil)
    const past = this.#past(reason, now)
    const timesOpened = past.timesOpened + 1
    this.#become(
      { ...past, _tag: "Open", openedBy: "instance", openings, openFor: until - now, timesOpened, until },
      now
    )
  }

  #halfOpen(reason: string, now: number): void {
    this.#become({ ...this.#past(reason, now), _tag: "HalfOpen", probes: [], successes: 0, freeAt: now }, now)
  }

  #past(reason: string, now: number): Past {
    const { openedBy, openFor, override, timesOpened } = this.#phase
    const openings = this.#openingsAt(now)
    return { since: now, reason, openedBy, adopted: false, openings, openFor, timesOpened, hintUntil: 0, override }
  }

  /** A failure's wish to be left alone: the longest of an epoch counts. */
  #hear(hint: number, now: number): void {
    if (hint <= 0) return
    const until = now + Math.min(hint, this.plan.maxOpenFor)
    if (until > this.#phase.hintUntil) this.#phase = { ...this.#phase, hintUntil: until }
  }

  #openingsAt(now: number): number {
    const phase = this.#phase
    return phase._tag === "Closed" && now >= phase.calmAt ? 0 : phase.openings
  }

  #become(phase: Closed | Open | HalfOpen, now: number): void {
    const from = this.#phase._tag
    if (from !== phase._tag) this.changing({ from, to: phase._tag, reason: phase.reason! }, now)
    this.ending(now)
    this.#phase = phase
    this.#nextEpoch()
  }

  #clearEvidence(): void {
    this.streak = 0
    this.windows = makeWindows(this.plan.windows, this.plan.slowerThan !== undefined)
  }

  #windows(): ReadonlyArray<Window> {
    const all = []
    for (let window = this.windows; window !== undefined; window = window.next) all.push(window)
    return all
  }

  #nextEpoch(): void {
    this.epoch++
    this.#clearEvidence()
    this.#setGate()
  }

  #setGate(): void {
    const phase = this.#phase
    const straight = phase._tag === "Closed" && phase.rampUntil === -Infinity
    this.gate = (this.gate & GATE_KEPT) | (straight ? 0 : GATE_STATE) |
      (phase.override === undefined ? 0 : GATE_OVERRIDE)
  }
}
