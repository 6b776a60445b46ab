/**
 * One circuit of one instance, as a member of its fleet: what it knows of the fleet's view and since when, what it has to
 * report, and which leases it holds. Made when there is something to know.
 *
 * The rules are the storage protocol's. In short: what is newer is taken over, what is older is dropped, and what the storage
 * has lost is put back; a report is frozen once it was sent, until somebody says that it is counted; the fleet opens on
 * evidence that held in two snapshots an interval apart; a probe needs a lease, as long as the storage answers.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { aged, type Counts, type Delta, type LifetimeCounts, merge, noDelta, noLifetimeCounts } from "../core/Delta.ts"
import { widthFor } from "../core/Geometry.ts"
import { type Adopted, GATE_ASLEEP, GATE_LEASE, Permit, type Settlement } from "../core/Machine.ts"
import { type LeaseName, type Opening, snapshot as snapshotOf, type Why } from "../core/Record.ts"
import { sameWindow, trips } from "../core/TripRule.ts"
import {
  type Announcement,
  type Changed,
  type CircuitReport,
  type OperationTo,
  type Settle,
  type Snapshot,
  StorageError,
  type Synced
} from "../Storage/Storage.ts"
import type { Circuit } from "./Circuit.ts"
import { DEADLINE, type Member } from "./Engine.ts"

/** A storage keeps a lease for longer than its holder uses it, so that a probe which took too long is still heard of. */
const GRACE = 1000
/** The most buckets that wait to be reported, as a storage keeps no more. */
const MOST_BUCKETS = 60

type Waiter = (result: Result.Result<void, StorageError>) => void

/** A report that was sent and may have been counted: only its ages change until it is acknowledged. */
interface Pending {
  readonly sequence: number
  readonly delta: Delta
  /** When the delta's ages were right. */
  readonly at: number
  generation: number
  /** Which of the awaited outcomes are in it. */
  readonly mark: number
}

/** A request that is under way, with those who wait for its answer. */
export interface Request {
  readonly replica: Replica
  readonly report: CircuitReport
  readonly pending: Pending | undefined
  /** The generation that was known when it was sent. */
  readonly knew: number
  readonly askedAt: number
  readonly waiters: Array<Waiter>
}

interface Lease {
  readonly name: LeaseName
  readonly generation: number
  /** By the holder's clock, from the request. */
  readonly until: number
}

/** A lease that was asked for. Without an answer it is asked for again by its name, for it may have been granted. */
interface Asking {
  readonly name: LeaseName
  readonly at: number
  underWay: boolean
  readonly waiters: Array<() => void>
}

/** How a probe ended, until the storage has heard of it. */
interface Settling {
  readonly settle: Settle
  readonly until: number
  readonly settlement: Settlement
  underWay: boolean
  /** Whether the own machine has judged it, for nobody answered. */
  alone: boolean
}

const nothingKnown: Snapshot = snapshotOf(undefined, [], 0, 0)

export class Replica {
  readonly circuit: Circuit
  readonly member: Member
  /** The fleet's view, as last heard of. */
  snapshot: Snapshot = nothingKnown
  /** When what is known was asked for, and when the answer came. */
  askedAt = -Infinity
  answeredAt = -Infinity
  /** How long the last change took to be known here. */
  lag: number | undefined = undefined
  /** Outcomes that were given up: nobody can say whether the storage has counted them. */
  lost = 0
  current: Request | undefined = undefined
  /** Who is acting, while what an operator did is taken over. */
  operator: string | undefined = undefined
  #failed = 0
  readonly #complaints = new Set<string>()
  #called = true
  #calledAt: number
  #waiters: Array<Waiter> = []

  #pending: Pending | undefined = undefined
  #unsent: Delta | undefined = undefined
  #unsentAt = 0
  /** What the circuit had counted when the unsent was last added to. */
  #base: LifetimeCounts = noLifetimeCounts
  #asideSuccess = 0
  #asideFailure = 0
  #asideSlow = 0
  #baseStreak = 0
  #leading: number | undefined = undefined
  #since: number
  #hintUntil = 0
  #mark = 0
  #acknowledged = 0

  /** Since which snapshot the evidence trips, and when that was asked for. */
  #suspect: { readonly asOf: number; readonly at: number } | undefined = undefined
  /** How many changes are under way, the settling of probes among them. */
  #changing = 0
  readonly #unchanging: Array<() => void> = []

  #asking: Asking | undefined = undefined
  #deniedUntil = -Infinity
  #grant: (Lease & { readonly at: number }) | undefined = undefined
  readonly #held = new Map<number, Lease>()
  readonly #settling = new Set<Settling>()

  constructor(circuit: Circuit, member: Member) {
    this.circuit = circuit
    this.member = member
    this.#calledAt = this.#since = member.engine.now()
  }

  get loaded(): boolean {
    return this.answeredAt !== -Infinity
  }

  /** Whether the storage does not answer for it, so that the own machine decides alone. */
  get away(): boolean {
    return this.#failed >= 2 || this.member.engine.away || this.member.left
  }

  /** Whether there is nothing that an instance which never heard of the circuit would not assume. */
  get isTrivial(): boolean {
    return this.loaded && this.snapshot.generation === 0 && !this.#isBusy()
  }

  get #name(): string {
    return this.circuit.name
  }

  // -----------------------------------------------------------------------------
  // rounds
  // -----------------------------------------------------------------------------

  /** Takes part in the rounds again: a call has come. */
  wake(): void {
    if (this.member.left) return
    this.circuit.gate &= ~GATE_ASLEEP
    if (!this.#called) {
      this.#called = true
      this.#calledAt = this.member.engine.now()
    }
    this.member.lane.add(this)
  }

  /** A failure is not kept back, unless nobody would hear of it. */
  hurry(): void {
    if (this.away) this.wake()
    else this.member.lane.hurry(this)
  }

  /** What it has to say or to ask in a round, if anything. */
  next(): Request | undefined {
    const now = this.member.engine.now()
    this.cut(now)
    this.#tend(now)
    if (this.current !== undefined) return undefined
    if (this.#pending !== undefined || this.#unsent !== undefined || this.#wantsToKnow(now)) return this.begin()
    if (!this.#isBusy()) this.#sleep()
    return undefined
  }

  begin(): Request {
    const { circuit: { name }, member: { engine, instance, withins } } = this
    const now = engine.now()
    this.cut(now)
    this.#giveUp(now)
    // Who does not answer is asked whether it does, before what may not be sent twice.
    if (this.#pending === undefined && this.#unsent !== undefined && !this.away) {
      this.#pending = {
        sequence: ++engine.sequence,
        delta: this.#unsent,
        at: this.#unsentAt,
        generation: this.snapshot.generation,
        mark: this.#mark
      }
      this.#unsent = undefined
    }
    const pending = this.#pending
    const report = pending === undefined
      ? { circuit: name, instance, sequence: 0, generation: this.snapshot.generation, delta: noDelta, withins }
      : {
        circuit: name,
        instance,
        sequence: pending.sequence,
        generation: pending.generation,
        delta: aged(pending.delta, now - pending.at),
        withins
      }
    this.#called = false
    const knew = this.snapshot.generation
    return this.current = { replica: this, report, pending, knew, askedAt: now, waiters: this.#waiters.splice(0) }
  }

  #wantsToKnow(now: number): boolean {
    if (!this.loaded || this.#suspect !== undefined || this.#isUnheard(now) || this.#waiters.length > 0) return true
    if (!this.member.follows) return false
    return this.#called ||
      (this.#isOpenAnywhere() && now - this.#calledAt < this.member.engine.idleTimeToLive)
  }

  #isOpenAnywhere(): boolean {
    return this.circuit.state !== "Closed" || this.snapshot.state._tag !== "Closed" ||
      this.snapshot.override !== undefined
  }

  /** Whether something is left to be done, be it in a later round. */
  #isBusy(): boolean {
    return this.current !== undefined || this.#pending !== undefined || this.#unsent !== undefined ||
      this.#grant !== undefined || this.#settling.size > 0 || this.#asking !== undefined || this.#changing > 0
  }

  /** Whether the storage should still hear something before the breaker ends. */
  isUnsaid(now: number): boolean {
    this.cut(now)
    return this.#pending !== undefined || this.#unsent !== undefined || this.#settling.size > 0 ||
      this.#grant !== undefined
  }

  #sleep(): void {
    this.member.lane.awake.delete(this)
    if (this.member.follows) this.circuit.gate |= GATE_ASLEEP
  }

  /** What is known may be old. */
  reread(): void {
    if (this.loaded && !this.member.left) this.member.engine.request(this)
  }

  announced({ generation, snapshot }: Extract<Announcement, { readonly _tag: "Changed" }>): void {
    if (generation <= this.snapshot.generation) return
    if (snapshot === undefined || !isSane(snapshot)) return this.reread()
    const now = this.member.engine.now()
    this.#accept(snapshot, -1, now)
  }

  // -----------------------------------------------------------------------------
  // waiting
  // -----------------------------------------------------------------------------

  /** For the first call of a circuit: loads it, and is there to be waited for where that takes its time. */
  load(): Effect.Effect<void> | undefined {
    const { engine } = this.member
    if (this.away) {
      this.wake()
      return undefined
    }
    let done: (() => void) | undefined
    let loaded = false
    this.#waiters.push(() => {
      loaded = true
      done?.()
    })
    engine.request(this)
    if (this.member.follows || !this.isTrivial) this.wake()
    return loaded ? undefined : engine.patiently((resume) => loaded ? resume() : done = resume)
  }

  /** For `strict` and cached: what is known may not be older than the policy says. */
  fresh(): Effect.Effect<void, StorageError> | undefined {
    const { engine, policy: { failsWithStorage, maxAge } } = this.member
    if (maxAge > 0 && engine.now() - this.askedAt <= maxAge) return undefined
    if (this.away) {
      this.wake()
      return failsWithStorage
        ? Effect.fail(
          new StorageError({
            operation: "sync",
            circuit: this.#name,
            reason: "Unavailable",
            cause: "the storage is away"
          })
        )
        : undefined
    }
    return Effect.callback<void, StorageError>((resume) => {
      const waiter: Waiter = (result) =>
        resume(Result.isFailure(result) && failsWithStorage ? Effect.fail(result.failure) : Effect.void)
      // A load that was sent before the call came says nothing of what was committed in between.
      const joins = maxAge > 0 && this.current !== undefined && engine.now() - this.current.askedAt <= maxAge
      if (joins) this.current!.waiters.push(waiter)
      else {
        this.#waiters.push(waiter)
        engine.request(this)
      }
    })
  }

  /** For `strict`: until the storage has the outcomes of now, and the change that follows from them is made. */
  recorded(): Effect.Effect<void> | undefined {
    const { engine, policy } = this.member
    if (policy.maxAge > 0 || this.away) return undefined
    const mark = ++this.#mark
    const until = engine.now() + 2 * DEADLINE
    const wait: Effect.Effect<void> = Effect.callback<void>((resume) => {
      this.#waiters.push((result) =>
        resume(
          Result.isSuccess(result) && this.#acknowledged < mark && engine.now() < until && !this.away
            ? wait
            : Effect.void
        )
      )
      engine.request(this)
    })
    return wait
  }

  /** Calls back once nothing that was asked of the storage is under way. */
  whenQuiet(f: () => void): void {
    if (this.current === undefined) this.#whenUnchanging(f)
    else this.current.waiters.push(f)
  }

  /** Calls back once no change is under way. */
  #whenUnchanging(f: () => void): void {
    if (this.#changing > 0) this.#unchanging.push(f)
    else f()
  }

  // -----------------------------------------------------------------------------
  // what it reports
  // -----------------------------------------------------------------------------

  /** An outcome that counts for the lifetime alone. */
  setAside(failed: boolean, slow: boolean): void {
    if (failed) this.#asideFailure++
    else this.#asideSuccess++
    if (slow) this.#asideSlow++
  }

  /** A success has ended a row of failures: the first since the last cut says how many came before it. */
  streakEnds(): void {
    const { streak, success } = this.circuit
    if (this.#leading === undefined && success - 1 - this.#base.success === this.#asideSuccess) {
      this.#leading = streak - this.#baseStreak
    }
  }

  /** Adds what the circuit counted since the last time to what is to be sent. */
  cut(now: number, epochEnds = false): void {
    const { circuit } = this
    const { failure, ignored, rejected, slow, success, timeout } = circuit
    const base = this.#base
    const lifetime = {
      success: success - base.success,
      failure: failure - base.failure,
      ignored: ignored - base.ignored,
      timeout: timeout - base.timeout,
      slow: slow - base.slow,
      rejected: rejected - base.rejected
    }
    if (lifetime.success + lifetime.failure + lifetime.ignored + lifetime.rejected > 0) {
      const counts = {
        success: lifetime.success - this.#asideSuccess,
        failure: lifetime.failure - this.#asideFailure,
        slow: lifetime.slow - this.#asideSlow
      }
      const sawSuccess = counts.success > 0
      const trailing = sawSuccess ? circuit.streak : counts.failure
      const hint = circuit.hintUntil > this.#hintUntil ? Math.max(0, circuit.hintUntil - now) : 0
      this.#add({
        buckets: this.member.withins.length > 0 && counts.success + counts.failure > 0
          ? [{ age: Math.max(0, now - this.#since), ...counts }]
          : [],
        streak: { leading: sawSuccess ? this.#leading ?? 0 : trailing, sawSuccess, trailing },
        lifetime: {
          ...lifetime,
          ...(lifetime.success > 0 ? { lastSuccessAge: Math.max(0, now - circuit.lastSuccessAt) } : {}),
          ...(lifetime.failure > 0 ? { lastFailureAge: Math.max(0, now - circuit.lastFailureAt) } : {})
        },
        hint
      }, now)
      this.#hintUntil = circuit.hintUntil
      this.#base = { failure, ignored, rejected, slow, success, timeout }
      this.#asideSuccess = this.#asideFailure = this.#asideSlow = 0
      this.#called = true
      this.#calledAt = now
    }
    this.#baseStreak = epochEnds ? 0 : circuit.streak
    this.#leading = undefined
    this.#since = now
  }

  #add(delta: Delta, now: number): void {
    if (this.#unsent === undefined) this.#unsent = delta
    else {
      const before = aged(this.#unsent, now - this.#unsentAt)
      this.#unsent = thinned(merge(before, delta), this.member.withins)
    }
    this.#unsentAt = now
  }

  /** What was not sent in its own generation is no evidence in the next. */
  #forgetEvidence(): void {
    if (this.#unsent !== undefined) this.#unsent = { ...noDelta, lifetime: this.#unsent.lifetime }
    this.#hintUntil = 0
  }

  /** A report that nobody has acknowledged for so long might count twice. */
  #giveUp(now: number): void {
    if (this.#pending === undefined || now - this.#pending.at < this.member.engine.idleTimeToLive - DEADLINE) return
    this.#drop("A report was given up, for it was in doubt for too long")
  }

  #refused(): void {
    const { member } = this
    this.#drop(
      member.outdated ? undefined : "A report was refused, for a newer version of this library owns the circuit"
    )
    member.outdated = true
  }

  #drop(message: string | undefined): void {
    const { failure, success } = this.#pending!.delta.lifetime
    this.lost += success + failure
    this.#pending = undefined
    if (message !== undefined) this.member.engine.log("Warn", message, { circuit: this.#name, success, failure })
  }

  // -----------------------------------------------------------------------------
  // what it hears
  // -----------------------------------------------------------------------------

  answered(request: Request, answer: Synced["result"]): void {
    this.current = undefined
    const result = Result.isSuccess(answer) && !isSane(answer.success?.snapshot, this.member.withins.length)
      ? Result.fail(this.#invalid("sync", answer.success))
      : answer
    if (Result.isFailure(result)) {
      this.#failedTo(request.pending === undefined ? "load" : "persist", result.failure)
      for (const waiter of request.waiters) waiter(Result.fail(result.failure))
      return
    }
    const { reported, snapshot } = result.success
    this.#heard()
    const isFirst = !this.loaded
    if (request.pending !== undefined && request.pending === this.#pending) {
      if (reported === "Counted") {
        this.#acknowledged = this.#pending.mark
        this.#pending = undefined
      } else if (reported === "Refused") this.#refused()
    }
    this.#accept(snapshot, request.knew, request.askedAt)
    if (isFirst && (snapshot.generation > 0 || snapshot.lifetime.success + snapshot.lifetime.failure > 0)) {
      const { state, streak } = this.snapshot
      this.member.engine.log("Debug", "Circuit restored", {
        circuit: this.#name,
        state: state._tag,
        failure_count: streak
      })
    }
    if (snapshot.generation === this.snapshot.generation) this.#judge(snapshot, request.askedAt)
    this.#proposeOwn()
    if (this.#pending === undefined && this.#unsent === undefined && this.#mark > this.#acknowledged) {
      this.#acknowledged = this.#mark
    }
    this.#whenUnchanging(() => {
      for (const waiter of request.waiters) waiter(Result.void)
    })
    if (!this.member.follows && !this.#isBusy() && !this.#wantsToKnow(this.answeredAt)) this.#sleep()
  }

  #heard(): void {
    this.#failed = 0
    this.#complaints.clear()
  }

  #failedTo(what: "load" | "persist", error: StorageError): void {
    this.#failed++
    const message = error.reason === "Invalid" ? "Failed to decode" : `Failed to ${what}`
    this.member.engine.complain(`${message} a circuit`, this.#name, error, this.#complaints)
    if (this.away) this.#judgeAlone()
  }

  #invalid(operation: string, cause: unknown): StorageError {
    return new StorageError({ operation, circuit: this.#name, reason: "Invalid", cause })
  }

  /** Takes over what is newer, drops what is older, and puts back what the storage has lost. */
  #accept(snapshot: Snapshot, knew: number, askedAt: number): void {
    const now = this.member.engine.now()
    const known = this.snapshot.generation
    if (snapshot.generation < known) {
      if (snapshot.generation < knew) this.#putBack(snapshot, askedAt, now)
      return
    }
    if (snapshot.generation > known) return this.#adopt(snapshot, askedAt, now)
    if (askedAt < this.askedAt) return
    const totals = snapshot.totals.length > 0 ? snapshot.totals : this.snapshot.totals
    this.#confirm({ ...snapshot, totals }, askedAt, now)
    this.circuit.refresh(this.#stateOf(snapshot, now))
    if (snapshot.state._tag === "HalfOpen" && snapshot.state.live < this.circuit.plan.probes) {
      this.#deniedUntil = -Infinity
    }
  }

  #confirm(snapshot: Snapshot, askedAt: number, now: number): void {
    this.snapshot = snapshot
    this.askedAt = askedAt
    this.answeredAt = now
  }

  #adopt(snapshot: Snapshot, askedAt: number, now: number): void {
    const { elapsed, generation, override, state, why } = snapshot
    const wasState = this.snapshot.state._tag
    const adopted: Adopted = {
      state: this.#stateOf(snapshot, now),
      since: elapsed === undefined ? -Infinity : now - elapsed,
      reason: why?.reason,
      openedBy: this.#openedBy(snapshot),
      openings: snapshot.openings,
      openFor: snapshot.openFor,
      override: override === undefined ? undefined : {
        mode: override.kind,
        reason: override.reason,
        actor: override.actor,
        until: override.remaining === undefined ? Infinity : now + override.remaining
      }
    }
    this.circuit.follow(adopted, now)
    this.#forgetEvidence()
    this.#confirm(snapshot, askedAt, now)
    this.#suspect = undefined
    this.#deniedUntil = -Infinity
    this.#putGrant(undefined)
    this.#held.clear()
    for (const settling of this.#settling) if (settling.settle.generation < generation) this.#settling.delete(settling)
    if (wasState !== state._tag) this.lag = elapsed
    this.member.engine.log("Trace", "The fleet's state was taken over", {
      circuit: this.#name,
      state: state._tag,
      generation
    })
    this.#compare(snapshot.fingerprint)
    if (this.#isOpenAnywhere() && this.member.follows) this.wake()
  }

  #stateOf({ state }: Snapshot, now: number): Adopted["state"] {
    switch (state._tag) {
      case "Closed":
        return state
      case "Open":
        return { _tag: "Open", until: now + state.remaining }
      case "HalfOpen": {
        const isFree = state.live < this.circuit.plan.probes
        const lapse = Math.max(0, (state.nextLapse ?? 0) - GRACE)
        return { _tag: "HalfOpen", successes: state.successes, freeAt: isFree ? now : now + lapse }
      }
    }
  }

  #openedBy({ state, why }: Snapshot): Adopted["openedBy"] {
    if (state._tag === "HalfOpen") return this.circuit.openedBy
    const evidence = why?.evidence as { readonly instance?: unknown } | null | undefined
    return evidence?.instance === this.member.instance ? "instance" : "fleet"
  }

  /** Says once that another policy than its own has made a change. */
  #compare(fingerprint: string | undefined): void {
    const { member } = this
    if (fingerprint === undefined || fingerprint === member.fingerprint || member.mismatched) return
    member.mismatched = true
    member.engine.log("Warn", "Instances of a circuit have different policies", {
      circuit: this.#name,
      fingerprint: member.fingerprint,
      other: fingerprint
    })
  }

  /** The storage does not know what it once confirmed. Whoever knows it longer than it would have lived believes the storage. */
  #putBack(snapshot: Snapshot, askedAt: number, now: number): void {
    if (this.#changing > 0) return
    const age = now - this.answeredAt
    if (age > this.member.engine.idleTimeToLive) return this.#believe(snapshot, askedAt, now)
    const { generation } = this.snapshot
    const leases = [...this.#held.values()].map(({ name, until }) => ({ ...name, remaining: Math.max(0, until - now) }))
    this.#change({ _tag: "PutBack", snapshot: this.snapshot, age, leases }, (changed, askedAt) => {
      if (changed.snapshot.generation < generation && generation === this.snapshot.generation) {
        this.#believe(changed.snapshot, askedAt, this.member.engine.now())
      } else this.#accept(changed.snapshot, -1, askedAt)
    })
  }

  #believe(snapshot: Snapshot, askedAt: number, now: number): void {
    this.#adopt(snapshot, askedAt, now)
    if (this.#pending !== undefined) this.#pending.generation = snapshot.generation
  }

  // -----------------------------------------------------------------------------
  // changes
  // -----------------------------------------------------------------------------

  #change(
    change: Parameters<Member["engine"]["storage"]["change"]>[1],
    heard: (changed: Changed, askedAt: number) => void
  ): void {
    const { engine } = this.member
    const askedAt = engine.now()
    this.#changing++
    engine.attempt("change", this.#name, () => engine.storage.change(this.#name, change), (result) => {
      this.#changing--
      if (Result.isFailure(result) || !isSane(result.success?.snapshot)) {
        this.#failedTo("persist", Result.isFailure(result) ? result.failure : this.#invalid("change", result.success))
      } else {
        this.#heard()
        if (result.success.committed) this.#persisted(result.success.snapshot)
        heard(result.success, askedAt)
      }
      this.#changed()
    })
  }

  #changed(): void {
    if (this.#changing === 0) { for (const f of this.#unchanging.splice(0)) f() }
  }

  #persisted({ state }: Snapshot): void {
    this.member.engine.log("Debug", "Circuit persisted", { circuit: this.#name, state: state._tag })
  }

  /** Judges the fleet by its pooled evidence. One bad node must not open it for all, so what trips has to last. */
  #judge(snapshot: Snapshot, askedAt: number): void {
    const { circuit, member: { lane: { interval }, policy, pooled, withins } } = this
    const mode = snapshot.override?.kind
    const isJudged = pooled && snapshot.state._tag === "Closed" && mode !== "ForcedOpen" && mode !== "Disabled"
    const reason = isJudged
      ? trips(circuit.plan.rule, {
        streak: snapshot.streak,
        totals: (window) =>
          snapshot.totals[withins.findIndex((duration) => sameWindow({ _tag: "Within", duration }, window))]!
      })
      : undefined
    if (reason === undefined) {
      this.#suspect = undefined
      return
    }
    const { asOf, streak, totals } = snapshot
    this.#suspect ??= { asOf, at: askedAt }
    const lasts = asOf - this.#suspect.asOf >= interval && askedAt - this.#suspect.at >= interval
    if (!lasts && policy.maxAge > 0) {
      this.member.lane.add(this)
      return
    }
    const evidence = { by: "fleet", streak, totals }
    this.#propose(
      { reason: mode === undefined ? reason : `${reason} (metrics only)`, evidence },
      asOf,
      mode === undefined ? circuit.nextOpenFor(this.member.engine.now()) : undefined
    )
  }

  /** The own machine has tripped. Where one is enough, it is a change for all. */
  tripped(reason: string): void {
    const { engine, pooled } = this.member
    engine.log("Trace", "The circuit tripped", { circuit: this.#name, reason })
    if (pooled || this.member.left) return
    if (!this.loaded) {
      engine.request(this)
      this.member.lane.add(this)
    } else if (this.circuit.state === "Closed") {
      if (this.snapshot.override?.kind === "MetricsOnly") {
        this.#propose(this.#ownWhy(reason), this.#asOf(engine.now()), undefined)
      }
    } else this.#proposeOwn()
  }

  /** Whether the instance has isolated itself, and nobody knows who should. */
  #isUnheard(now: number): boolean {
    const opening = this.circuit.opening()
    return !this.member.pooled && opening !== undefined && now < opening.until && this.snapshot.state._tag === "Closed"
  }

  #proposeOwn(): void {
    const now = this.member.engine.now()
    if (!this.#isUnheard(now) || this.#changing > 0 || this.away) return
    const { reason = "", until } = this.circuit.opening()!
    this.#propose(this.#ownWhy(reason), this.#asOf(now), until - now)
  }

  #ownWhy(reason: string): Why {
    return { reason, evidence: { by: "instance", instance: this.member.instance } }
  }

  /** The storage's clock, as far as can be told from here: if a request is held up, it must be seen to be old. */
  #asOf(now: number): number {
    return this.snapshot.asOf + now - this.answeredAt
  }

  #propose(why: Why, asOf: number, openFor: number | undefined): void {
    if (this.#changing > 0) return
    const { circuit: { plan: { maxOpenFor } }, member: { fingerprint, lane: { interval } } } = this
    const opening: Opening | undefined = openFor === undefined ? undefined : { openFor, maxOpenFor }
    const { generation } = this.snapshot
    this.#change(
      { _tag: "Trip", generation, asOf, maxAge: 2 * interval, opening, why, fingerprint },
      ({ snapshot }, askedAt) => this.#accept(snapshot, generation, askedAt)
    )
  }

  /** What an operator wants, of the whole fleet. */
  operate(id: string, to: OperationTo, why: Why): Effect.Effect<void, StorageError> {
    return Effect.callback<void, StorageError>((resume) => {
      const { engine } = this.member
      const askedAt = engine.now()
      const { generation: known } = this.snapshot
      const operation = { _tag: "Operation", id, known, why, to } as const
      engine.attempt("change", this.#name, () => engine.storage.change(this.#name, operation), (result) => {
        if (Result.isFailure(result)) return resume(Effect.fail(result.failure))
        if (!isSane(result.success?.snapshot)) return resume(Effect.fail(this.#invalid("change", result.success)))
        const { committed, snapshot } = result.success
        this.operator = why.actor
        this.#accept(snapshot, -1, askedAt)
        this.operator = undefined
        if (committed) this.#persisted(snapshot)
        resume(
          committed
            ? Effect.void
            : Effect.fail(
              new StorageError({ operation: "change", circuit: this.#name, reason: "Denied", cause: to._tag })
            )
        )
      })
    })
  }

  // -----------------------------------------------------------------------------
  // leases
  // -----------------------------------------------------------------------------

  leaseAt(now: number): "Own" | "Granted" | "Ask" | "Denied" {
    if (this.snapshot.state._tag === "Closed") return "Own"
    if (this.#grantAt(now) !== undefined) return "Granted"
    if (this.away) return "Own"
    return this.#asking?.underWay === true || this.#settling.size > 0 || now < this.#deniedUntil ? "Denied" : "Ask"
  }

  /** No probe starts on a lease that has lapsed. */
  #grantAt(now: number): Lease | undefined {
    return this.#grant !== undefined && now < this.#grant.until ? this.#grant : undefined
  }

  #putGrant(grant: Lease | undefined): void {
    this.#grant = grant === undefined ? undefined : { ...grant, at: this.member.engine.now() }
    if (grant === undefined) this.circuit.gate &= ~GATE_LEASE
    else this.circuit.gate |= GATE_LEASE
  }

  takeLease(now: number): Permit | undefined {
    const grant = this.#grantAt(now)
    if (grant === undefined) return undefined
    this.#putGrant(undefined)
    this.#held.set(grant.name.sequence, grant)
    return new Permit(this.circuit.epoch, now, { probe: true, until: grant.until, lease: grant.name })
  }

  /** Asks for a lease, and is there to be waited for. */
  ask(): Effect.Effect<void> {
    const asking = this.#ask()
    return asking.underWay ? this.member.engine.patiently((done) => asking.waiters.push(done)) : Effect.void
  }

  #ask(): Asking {
    const { circuit: { plan }, member: { engine, fingerprint, instance } } = this
    const now = engine.now()
    let asking = this.#asking
    if (asking === undefined || now >= asking.at + plan.lease) {
      asking = { name: { instance, sequence: ++engine.sequence }, at: now, underWay: false, waiters: [] }
    }
    const { at, name, waiters } = this.#asking = asking
    asking.underWay = true
    const { generation } = this.snapshot
    const request = {
      _tag: "Ask",
      lease: name,
      generation,
      duration: plan.lease + GRACE,
      probes: plan.probes,
      fingerprint
    } as const
    engine.attempt("probe", this.#name, () => engine.storage.probe(this.#name, request), (result) => {
      asking.underWay = false
      if (Result.isFailure(result) || !isSane(result.success?.snapshot)) {
        this.#failedTo("persist", Result.isFailure(result) ? result.failure : this.#invalid("probe", result.success))
        this.member.lane.add(this)
      } else {
        this.#asking = undefined
        this.#heard()
        const { granted, snapshot } = result.success
        engine.log("Trace", granted ? "A lease was granted" : "A lease was denied", { circuit: this.#name })
        this.#accept(snapshot, generation, now)
        if (granted && snapshot.generation === this.snapshot.generation) {
          this.#putGrant({ name, generation: snapshot.generation, until: at + plan.lease })
          this.member.lane.add(this)
        } else this.#denied(snapshot)
        if (snapshot.generation < generation) return this.#whenUnchanging(() => this.#askAgain(waiters.splice(0)))
      }
      for (const done of waiters.splice(0)) done()
    })
    return asking
  }

  /** For those who waited, when the storage had lost what it would have granted. */
  #askAgain(waiters: ReadonlyArray<() => void>): void {
    const asking = this.leaseAt(this.member.engine.now()) === "Ask" ? this.#ask() : undefined
    if (asking?.underWay === true) asking.waiters.push(...waiters)
    else for (const done of waiters) done()
  }

  #denied({ generation, state }: Snapshot): void {
    if (generation !== this.snapshot.generation) return
    const { engine, lane: { interval } } = this.member
    const isFull = state._tag === "HalfOpen" && state.live >= this.circuit.plan.probes
    const wait = state._tag === "Open" ? state.remaining : isFull ? state.nextLapse : undefined
    this.#deniedUntil = engine.now() + (wait ?? interval)
  }

  settleLease({ lease, until }: Permit, now: number, settlement: Settlement): void {
    const held = this.#held.get(lease!.sequence)
    if (held === undefined) return
    this.#held.delete(lease!.sequence)
    const { circuit: { plan }, member: { fingerprint, instance } } = this
    const { hint, outcome } = settlement
    const settled: Settle["outcome"] = outcome === "Success"
      ? {
        _tag: "Success",
        successes: plan.successes,
        why: { reason: `${plan.successes} of ${plan.successes} probes succeeded` }
      }
      : outcome === "Failure"
      ? {
        _tag: "Failure",
        opening: { openFor: this.circuit.nextOpenFor(now), maxOpenFor: plan.maxOpenFor },
        hint: Math.min(hint, plan.maxOpenFor),
        why: { reason: "a probe failed", evidence: { by: "instance", instance } }
      }
      : { _tag: "Ignored" }
    const settle = { lease: held.name, generation: held.generation, outcome: settled, fingerprint }
    this.#settle({ settle, until: until + GRACE, settlement, underWay: false, alone: false })
  }

  #settle(settling: Settling): void {
    const { engine, lane } = this.member
    const { settle } = settling
    const askedAt = engine.now()
    this.#settling.add(settling)
    settling.underWay = true
    if (this.away) this.#judgeAlone()
    this.#changing++
    engine.attempt(
      "probe",
      this.#name,
      () => engine.storage.probe(this.#name, { _tag: "Settle", ...settle }),
      (result) => {
        settling.underWay = false
        this.#changing--
        if (Result.isFailure(result) || !isSane(result.success?.snapshot)) {
          this.#failedTo("persist", Result.isFailure(result) ? result.failure : this.#invalid("probe", result.success))
          lane.add(this)
        } else {
          this.#heard()
          this.#settling.delete(settling)
          const { granted, snapshot } = result.success
          if (granted) this.#persisted(snapshot)
          this.#accept(snapshot, settle.generation, askedAt)
          this.#deniedUntil = -Infinity
        }
        this.#changed()
      }
    )
  }

  /** What nobody can be told the own machine acts on. */
  #judgeAlone(): void {
    const now = this.member.engine.now()
    for (const settling of this.#settling) {
      if (settling.alone || settling.settle.generation !== this.snapshot.generation) continue
      settling.alone = true
      this.circuit.settleAlone(settling.settlement.outcome, settling.settlement.hint, now)
    }
  }

  /** Leases that were not used are given back, and what was not heard is said again while it matters. */
  #tend(now: number): void {
    const { circuit: { plan }, member: { lane: { interval } } } = this
    if (this.#asking?.underWay === false && now >= this.#asking.at + plan.lease) this.#asking = undefined
    for (const settling of this.#settling) {
      if (now >= settling.until) this.#settling.delete(settling)
      else if (!settling.underWay) this.#settle(settling)
    }
    for (const [sequence, { until }] of this.#held) if (now >= until + GRACE) this.#held.delete(sequence)
    if (this.#grant !== undefined && now - this.#grant.at >= interval) {
      const { generation, name, until } = this.#grant
      this.#putGrant(undefined)
      const settle = { lease: name, generation, outcome: { _tag: "Ignored" } } as const
      this.#settle({ settle, until, settlement: ignored, underWay: false, alone: true })
    }
    if (this.#isDefiant() && this.#called && this.leaseAt(now) === "Ask") this.#ask()
  }

  /** Whether the own machine has closed it while nobody answered: it goes on until it has said so under a lease. */
  #isDefiant(): boolean {
    return this.snapshot.state._tag !== "Closed" && this.circuit.state === "Closed" &&
      this.snapshot.override === undefined
  }
}

const ignored: Settlement = { outcome: "Ignored", slow: false, timeout: false, hint: 0 }

/** A delta with no more buckets than a storage would keep apart. */
const thinned = (delta: Delta, withins: ReadonlyArray<number>): Delta => {
  const width = widthFor(withins)
  if (width === undefined || delta.buckets.length < 2) return delta
  const buckets = delta.buckets.filter(({ age }) => age <= (MOST_BUCKETS + 1) * width)
  const kept = buckets.reduce<Array<Delta["buckets"][number]>>((kept, bucket) => {
    const last = kept.at(-1)
    if (last !== undefined && last.age - bucket.age < width) {
      kept[kept.length - 1] = { age: last.age, ...sum(last, bucket) }
    } else kept.push(bucket)
    return kept
  }, [])
  return { ...delta, buckets: kept }
}

const sum = (a: Counts, b: Counts): Counts => ({
  success: a.success + b.success,
  failure: a.failure + b.failure,
  slow: a.slow + b.slow
})

/** Whether an answer can be made sense of. A storage may say anything. */
const isSane = (snapshot: unknown, totals?: number): snapshot is Snapshot => {
  const { state, ...rest } = (snapshot ?? {}) as Partial<Snapshot>
  if (!isCount(rest.generation) || !isCount(rest.openings) || !isTime(rest.asOf) || !isTime(rest.openFor)) return false
  if (!Array.isArray(rest.totals) || (totals !== undefined && rest.totals.length !== totals)) return false
  if (rest.lifetime === undefined || typeof rest.streak !== "number") return false
  switch (state?._tag) {
    case "Closed":
      return true
    case "Open":
      return isTime(state.remaining)
    case "HalfOpen":
      return isCount(state.live) && isCount(state.successes)
    default:
      return false
  }
}

const isTime = (value: unknown): boolean => typeof value === "number" && Number.isFinite(value)
const isCount = (value: unknown): boolean => isTime(value) && (value as number) >= 0
