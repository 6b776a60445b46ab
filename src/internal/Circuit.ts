/**
 * One circuit: the machine of the core, with a name, events, and the errors that it rejects with.
 */
import * as Duration from "effect/Duration"
import type * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import { BreakerOpenError, BreakerTimeoutError, BulkheadFullError } from "../BreakerError.ts"
import {
  type Adopted,
  type Change,
  GATE_ASLEEP,
  GATE_OVERRIDE,
  Machine,
  type Override,
  type Permit,
  type Refusal,
  type Settlement
} from "../core/Machine.ts"
import { type RuleWindow, standing, type Totals } from "../core/TripRule.ts"
import type { FleetSnapshot, Snapshot, WindowSnapshot } from "../Event.ts"
import type { Announcement, StorageError } from "../Storage/Storage.ts"
import { Replica } from "./fleet/Replica.ts"
import type { Guard } from "./Guard.ts"
import { prefixOf } from "./Prefix.ts"

type Rejection = Exit.Exit<never, BreakerOpenError>

/** What a circuit that was never ill does not need, in one place: most are, and their memory counts. */
interface Illness {
  /** The error of the last failure that could open it, until it closes. */
  lastFailure: unknown
  /** What a refused call gets, for as long as nothing changes. */
  rejection: { readonly epoch: number; readonly refusal: Refusal; readonly exit: Rejection } | undefined
}

export class Circuit extends Machine<Guard> {
  readonly key: string | undefined
  /** Calls that were let through and have not ended. */
  inFlight = 0
  /** The second in which a call last asked for it by its key. */
  usedAt = 0
  /** Its part in the fleet, made when there is something to know of it. */
  replica: Replica | undefined = undefined
  #illness: Illness | undefined = undefined

  constructor(guard: Guard, key: string | undefined) {
    super(guard, guard.alwaysAsk)
    this.key = key
    if (guard.member !== undefined) this.gate |= GATE_ASLEEP
  }

  // -----------------------------------------------------------------------------
  // the fleet
  // -----------------------------------------------------------------------------

  /** Its part in the fleet; `undefined` where there is none to have. */
  joined(): Replica | undefined {
    const { member } = this.plan
    if (this.replica !== undefined || member === undefined || member.left) return this.replica
    member.engine.subscribe()
    return this.replica = new Replica(this, member)
  }

  /** Brings it back into the rounds, and what a call has to wait for before it is decided on, if anything. */
  arrive(): Effect.Effect<void, StorageError> | undefined {
    const { member } = this.plan
    if (member === undefined) return undefined
    if ((this.gate & GATE_ASLEEP) !== 0) {
      this.gate &= ~GATE_ASLEEP
      const replica = this.joined()
      if (replica === undefined) return undefined
      if (!replica.loaded && member.policy.maxAge === Infinity) {
        const loaded = replica.load()
        // Most circuits of a storage that nobody else writes to have nothing to remember.
        if (!member.follows && replica.isTrivial) this.replica = undefined
        return loaded
      }
      replica.wake()
    }
    return member.policy.maxAge === Infinity ? undefined : this.joined()?.fresh()
  }

  /** Brings it back into the rounds, for a call that ended. */
  wake(): void {
    if ((this.gate & GATE_ASLEEP) !== 0) this.replica?.wake()
  }

  /** What to wait for before a call that has ended may return, if anything. */
  recorded(): Effect.Effect<void> | undefined {
    return this.replica?.recorded()
  }

  /** What to wait for before a call can be decided on that needs a lease. */
  ask(): Effect.Effect<void> {
    return this.replica!.ask()
  }

  announced(announcement: Extract<Announcement, { readonly _tag: "Changed" }>): void {
    // Before its first call nothing of it is known, and its first call asks.
    if (this.replica !== undefined || (this.gate & GATE_ASLEEP) === 0) this.joined()?.announced(announcement)
  }

  /** Takes over the fleet's state. */
  follow(adopted: Adopted, now: number): void {
    const before = this.view(now).override
    this.adopt(adopted, now)
    if (adopted.state._tag === "Closed") this.#illness = undefined
    const { override } = adopted
    if (override !== undefined) {
      const isSame = before?.mode === override.mode && before.reason === override.reason &&
        before.actor === override.actor
      if (!isSame) this.#publishOverride("set", override, now)
    } else if (before !== undefined) {
      this.#publishOverride("cleared", { ...before, actor: this.replica?.operator ?? "unknown" }, now)
    }
  }

  protected override ending(now: number): void {
    this.replica?.cut(now, true)
  }

  protected override tripped(reason: string): void {
    this.joined()?.tripped(reason)
  }

  /** A success of another epoch. */
  late(): void {
    this.replica?.setAside(false, false)
  }

  protected override setAside(failed: boolean, slow: boolean): void {
    this.replica?.setAside(failed, slow)
  }

  protected override streakEnds(): void {
    this.replica?.streakEnds()
  }

  protected override leaseAt(now: number): "Own" | "Granted" | "Ask" | "Denied" {
    return this.replica === undefined ? "Own" : this.replica.leaseAt(now)
  }

  protected override takeLease(now: number): Permit | undefined {
    return this.replica?.takeLease(now)
  }

  protected override settleLease(permit: Permit, now: number, settlement: Settlement): void {
    this.replica?.settleLease(permit, now, settlement)
  }

  /** While nobody can be asked, the whole fleet may be probing at once. */
  protected override ownProbes(): number {
    return this.replica?.away === true ? 1 : this.plan.probes
  }

  // -----------------------------------------------------------------------------
  // calls
  // -----------------------------------------------------------------------------

  /** When a call last asked for it by its key, or ended and counted. */
  lastUse(): number {
    return Math.max(this.usedAt * 1000, this.lastFailureAt || 0, this.lastSuccessAt || 0)
  }

  /** The circuit's own name: unlike any other's, whatever the key is, as `/` in a keyed breaker's name is written `~1`. */
  get name(): string {
    const { name } = this.plan
    return this.key === undefined ? name : prefixOf(name) + this.key
  }

  /** The failure of a refused call, counted and told. */
  reject(refusal: Refusal, now: number): Rejection {
    this.rejected++
    this.wake()
    this.plan.trace?.("Trace", "Call rejected", { circuit: this.name, refusal })
    this.#publishRejected("BreakerOpenError", now)
    return this.rejection(refusal, now)
  }

  /** What a refused call fails with: prepared once. */
  rejection(refusal: Refusal, now: number): Rejection {
    const illness = this.#ill()
    let { rejection } = illness
    if (rejection === undefined || rejection.epoch !== this.epoch || rejection.refusal !== refusal) {
      illness.rejection = rejection = { epoch: this.epoch, refusal, exit: this.#prepare(refusal, now) }
    }
    return rejection.exit
  }

  #ill(): Illness {
    return this.#illness ??= { lastFailure: undefined, rejection: undefined }
  }

  rejectFull(now: number): Exit.Exit<never, BulkheadFullError> {
    this.rejected++
    this.plan.trace?.("Trace", "Call rejected", { circuit: this.name, refusal: "BulkheadFull" })
    this.#publishRejected("BulkheadFullError", now)
    return Exit.fail(new BulkheadFullError({ circuit: this.name, maxConcurrent: this.plan.maxConcurrent! }))
  }

  /** Whether an operator's override decides what runs. */
  isOverridden(now: number): boolean {
    return (this.gate & GATE_OVERRIDE) !== 0 && this.view(now).override !== undefined
  }

  /** Settles a failed call and keeps its error. */
  failed(permit: Permit, now: number, settlement: Omit<Settlement, "outcome">): void {
    if (permit.spent) return
    if (permit.epoch === this.epoch) this.#ill().lastFailure = settlement.error
    this.settle(permit, now, { ...settlement, outcome: "Failure" })
  }

  /** `failed` for calls that went straight through. */
  failedStraight(epoch: number, now: number, hint: number, error: unknown): void {
    const late = epoch !== this.epoch
    if (!late) this.#ill().lastFailure = error
    this.countFailure(now, error)
    if (late) this.setAside(true, false)
    else this.record(now, true, false, hint, false)
  }

  override countFailure(now: number, error: unknown): void {
    super.countFailure(now, error)
    this.joined()?.hurry()
    const { hub } = this.plan
    if (!hub.listening) return
    const own = error instanceof BreakerTimeoutError && error.circuit === this.name
    hub.publish({ _tag: own ? "Timeout" : "Failure", circuit: this.name, error, snapshot: this.snapshot(now) })
  }

  putOverride(override: Override, now: number): void {
    this.setOverride(override, now)
    this.#publishOverride("set", override, now)
  }

  liftOverride(actor: string, now: number): void {
    const { override } = this.view(now)
    if (override === undefined) return
    this.setOverride(undefined, now)
    this.#publishOverride("cleared", { ...override, actor }, now)
  }

  #publishOverride(change: "set" | "cleared" | "expired", { actor, mode, reason }: Override, now: number): void {
    const { hub } = this.plan
    if (!hub.listening) return
    hub.publish({ _tag: "Override", circuit: this.name, change, mode, reason, actor, snapshot: this.snapshot(now) })
  }

  override reset(now: number): void {
    this.#illness = undefined
    super.reset(now)
  }

  snapshot(now: number): Snapshot {
    const view = this.view(now)
    const wall = this.plan.clock.currentTimeMillisUnsafe() - now
    const unix = (at: number): number | undefined => Number.isNaN(at) ? undefined : Math.round(wall + at)
    const left = (until: number): Duration.Duration => Duration.millis(Math.max(0, until - now))
    const { override } = view
    return {
      circuit: this.name,
      state: view.state,
      isolated: view.state !== "Closed" && view.openedBy === "instance",
      elapsed: view.since === undefined ? undefined : Duration.millis(now - view.since),
      retryAfter: view.retryAt === undefined ? undefined : left(view.retryAt),
      openings: view.openings,
      why: view.reason,
      whyNot: view.state === "Closed" ? standing(this.plan.rule, this) : undefined,
      openedBy: override?.mode === "ForcedOpen" ? "override" : view.state === "Closed" ? undefined : view.openedBy,
      override: override === undefined ? undefined : {
        mode: override.mode,
        reason: override.reason,
        actor: override.actor,
        expiresIn: override.until === Infinity ? undefined : left(override.until)
      },
      statistics: {
        success: this.success,
        failure: this.failure,
        ignored: this.ignored,
        timeout: this.timeout,
        slow: this.slow,
        rejected: this.rejected,
        consecutiveFailures: this.streak,
        consecutiveSuccesses: this.success - this.successAtFailure,
        timesOpened: view.timesOpened,
        lastSuccessTime: unix(this.lastSuccessAt),
        lastSuccessDuration: this.durations?.success,
        lastFailureTime: unix(this.lastFailureAt),
        lastFailureDuration: this.durations?.failure
      },
      windows: view.windows.map(({ of, ...totals }) => windowSnapshot(of, totals)),
      fleet: this.replica === undefined ? undefined : this.#fleet(this.replica, now)
    }
  }

  #fleet(replica: Replica, now: number): FleetSnapshot {
    const { answeredAt, askedAt, away, lag, lost, member, snapshot, waiting } = replica
    const { failure, ignored, opened, rejected, slow, success, timeout } = snapshot.lifetime
    const { state } = snapshot
    const remaining = state._tag === "Open" ? Math.max(0, state.remaining - (now - answeredAt)) : undefined
    return {
      backend: member.engine.storage.backend,
      reachable: !away,
      generation: snapshot.generation,
      state: state._tag,
      remaining: remaining === undefined ? undefined : Duration.millis(remaining),
      why: snapshot.why?.reason,
      evidence: snapshot.why?.evidence,
      whyNot: member.pooled && state._tag === "Closed" ? standing(this.plan.rule, replica) : undefined,
      consecutiveFailures: snapshot.streak,
      windows: snapshot.totals.map((totals, i) =>
        windowSnapshot({ _tag: "Within", duration: member.withins[i]! }, totals)
      ),
      statistics: { success, failure, ignored, timeout, slow, rejected, timesOpened: opened },
      age: askedAt === -Infinity ? undefined : Duration.millis(now - askedAt),
      lag: lag === undefined ? undefined : Duration.millis(lag),
      waiting,
      lost
    }
  }

  protected override changing({ from, reason, to }: Change, now: number): void {
    const { hub } = this.plan
    if (!hub.listening) return
    hub.publish({ _tag: "Transition", circuit: this.name, from, to, reason, snapshot: this.snapshot(now) })
  }

  protected override overrideExpired(override: Override, now: number): void {
    this.#publishOverride("expired", override, now)
  }

  #publishRejected(by: "BreakerOpenError" | "BulkheadFullError", now: number): void {
    const { hub } = this.plan
    if (hub.listening) hub.publish({ _tag: "Rejected", circuit: this.name, by, snapshot: this.snapshot(now) })
  }

  #prepare(refusal: Refusal, now: number): Rejection {
    const { openedBy, override, reason, retryAt } = this.view(now)
    const { lastFailure } = this.#ill()
    const forced = refusal === "ForcedOpen"
    const why = forced ? override?.reason : reason
    const error = new BreakerOpenError({
      circuit: this.name,
      state: refusal === "Ramp" ? "HalfOpen" : refusal,
      openedBy: forced ? "override" : openedBy,
      ...(why === undefined ? {} : { reason: why }),
      ...(lastFailure === undefined || forced ? {} : { lastFailure })
    })
    if (!forced) this.#computeRetryAfter(error, retryAt ?? now)
    return Exit.fail(error)
  }

  // An open time is over when it is over, or sooner where calls get through again; a half-open place may free sooner, and then
  // sooner again.
  #computeRetryAfter(error: BreakerOpenError, retryAt: number): void {
    const { ticker } = this.plan
    const { epoch } = this
    Object.defineProperty(error, "retryAfter", {
      enumerable: true,
      get: () => {
        const now = ticker.exact()
        if (epoch !== this.epoch && this.refuses(now) === undefined) return Duration.zero
        const at = epoch === this.epoch ? this.retryAt(now) ?? now : retryAt
        return Duration.millis(Math.max(0, at - now))
      }
    })
  }
}

const windowSnapshot = (of: RuleWindow, { failure, slow, success }: Totals): WindowSnapshot => {
  const calls = success + failure
  return {
    window: of._tag === "Within" ? { within: Duration.millis(of.duration) } : { lastCalls: of.calls },
    calls,
    failures: failure,
    slow,
    failureRate: calls === 0 ? 0 : failure / calls,
    slowCallRate: calls === 0 ? 0 : slow / calls
  }
}
