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
import { aged, noCounts, noDelta } from "../../core/Delta.ts"
import { type Adopted, GATE_ASLEEP, type Permit, type Settlement } from "../../core/Machine.ts"
import { isWritable, type Opening, snapshot as snapshotOf, type Why } from "../../core/Record.ts"
import { type Evidence, type RuleWindow, sameWindow, type Totals, trips } from "../../core/TripRule.ts"
import {
  type Announcement,
  type Change,
  type Changed,
  type CircuitReport,
  type OperationTo,
  type Probe,
  type Probed,
  type Snapshot,
  StorageError,
  type Synced
} from "../../Storage/Storage.ts"
import type { Circuit } from "../Circuit.ts"
import { DEADLINE, type Member } from "./Engine.ts"
import { GRACE, Leases } from "./Leases.ts"
import { isSane } from "./Sane.ts"
import { type Pending, Unsent } from "./Unsent.ts"

/** Told how the request ended, and whether it held all that there was to report. */
type Waiter = (result: Result.Result<void, StorageError>, isAll: boolean) => void

/** A request that is under way, with those who wait for its answer. */
export interface Request {
  readonly replica: Replica
  readonly report: CircuitReport
  readonly pending: Pending | undefined
  /** Whether nothing was left to be reported after it. */
  readonly isAll: boolean
  /** The generation that was known when it was sent. */
  readonly knew: number
  readonly askedAt: number
  readonly waiters: Array<Waiter>
}

const nothingKnown: Snapshot = snapshotOf(undefined, [], 0, 0)

export class Replica implements Evidence {
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
  /** Who is acting, while the storage is told of it. */
  operator: string | undefined = undefined
  #failed = 0
  /** What was said of its trouble; made when there is any. */
  #complaints: Set<string> | undefined = undefined
  #called = true
  #calledAt: number
  #waiters: Array<Waiter> = []
  readonly #unsent: Unsent
  /** Made when a lease is asked for. */
  #leases: Leases | undefined = undefined
  /** Since which snapshot the evidence trips, and when that was asked for. */
  #suspect: { readonly asOf: number; readonly at: number } | undefined = undefined
  /** How many changes are under way, the settling of probes among them. */
  #changing = 0
  readonly #unchanging: Array<() => void> = []

  constructor(circuit: Circuit, member: Member) {
    this.circuit = circuit
    this.member = member
    this.#calledAt = member.engine.now()
    this.#unsent = new Unsent(circuit, member.withins, this.#calledAt)
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

  /** What the fleet is judged on. */
  get streak(): number {
    return this.snapshot.streak
  }

  totals(of: RuleWindow): Totals {
    const window = this.member.withins.findIndex((duration) => sameWindow({ _tag: "Within", duration }, of))
    return this.snapshot.totals[window] ?? noCounts
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
    this.#leases?.tend(now)
    if (this.#isDefiant() && this.#called && this.leaseAt(now) === "Ask") this.#lessee().askAhead()
    if (this.current !== undefined) return undefined
    if (!this.#unsent.isEmpty || this.#wantsToKnow(now)) return this.begin()
    if (!this.#isBusy()) this.#sleep()
    return undefined
  }

  begin(): Request {
    const { circuit: { name }, member: { engine, instance, withins } } = this
    const now = engine.now()
    this.cut(now)
    this.#giveUp(now)
    const { generation } = this.snapshot
    // Who does not answer is asked whether it does, before what may not be sent twice.
    if (!this.away) this.#unsent.freeze(generation, () => ++engine.sequence)
    const { pending } = this.#unsent
    const report = pending === undefined
      ? { circuit: name, instance, sequence: 0, generation, delta: noDelta, withins }
      : {
        circuit: name,
        instance,
        sequence: pending.sequence,
        generation: pending.generation,
        delta: aged(pending.delta, now - pending.at),
        withins
      }
    this.#called = false
    const { hasMore } = this.#unsent
    const waiters = this.#waiters.splice(0)
    return this.current = { replica: this, report, pending, isAll: !hasMore, knew: generation, askedAt: now, waiters }
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
    return this.current !== undefined || !this.#unsent.isEmpty || this.#leases?.isUnsaid === true ||
      this.#leases?.isAsking === true || this.#changing > 0
  }

  /** Outcomes that the storage has not acknowledged. */
  get waiting(): number {
    return this.#unsent.outcomes
  }

  /** Whether the storage should still hear something before the breaker ends. */
  isUnsaid(now: number): boolean {
    this.cut(now)
    return !this.#unsent.isEmpty || this.#leases?.isUnsaid === true
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
    this.accept(snapshot, -1, now)
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
    const until = engine.now() + 2 * DEADLINE
    const wait: Effect.Effect<void> = Effect.callback<void>((resume) => {
      // What was in doubt before goes first.
      this.#waiters.push((result, isAll) =>
        resume(Result.isSuccess(result) && !isAll && engine.now() < until ? wait : Effect.void)
      )
      engine.request(this)
    })
    return wait
  }

  /** Calls back once nothing that was asked of the storage is under way. */
  whenQuiet(f: () => void): void {
    if (this.current === undefined) this.whenUnchanging(f)
    else this.current.waiters.push(f)
  }

  /** Calls back once no change is under way. */
  whenUnchanging(f: () => void): void {
    if (this.#changing > 0) this.#unchanging.push(f)
    else f()
  }

  // -----------------------------------------------------------------------------
  // what it reports
  // -----------------------------------------------------------------------------

  /** An outcome that counts for the lifetime alone. */
  setAside(failed: boolean, slow: boolean): void {
    this.#unsent.setAside(failed, slow)
  }

  /** A success has ended a row of failures. */
  streakEnds(): void {
    this.#unsent.streakEnds()
  }

  /** Looks at what the circuit has counted since the last time. */
  cut(now: number, epochEnds = false): void {
    if (!this.#unsent.cut(now, epochEnds)) return
    this.#called = true
    this.#calledAt = now
  }

  /** A report that nobody has acknowledged for so long might count twice. */
  #giveUp(now: number): void {
    const { pending } = this.#unsent
    // By then one that was held up somewhere could still be counted.
    if (pending === undefined || now - pending.at < this.member.engine.idleTimeToLive / 2) return
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
    const { failure, success } = this.#unsent.pending!.delta.lifetime
    this.lost += success + failure
    this.#unsent.pending = undefined
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
      for (const waiter of request.waiters) waiter(Result.fail(result.failure), false)
      return
    }
    const { reported, snapshot } = result.success
    this.#heard()
    const isFirst = !this.loaded
    if (request.pending !== undefined && request.pending === this.#unsent.pending) {
      if (reported === "Counted") this.#unsent.pending = undefined
      else if (reported === "Refused") this.#refused()
    }
    this.accept(snapshot, request.knew, request.askedAt)
    if (isFirst && (snapshot.generation > 0 || snapshot.lifetime.success + snapshot.lifetime.failure > 0)) {
      const { state, streak } = this.snapshot
      this.member.engine.log("Debug", "Circuit restored", {
        circuit: this.#name,
        state: state._tag,
        failure_count: streak
      })
    }
    if (this.askedAt === request.askedAt) this.#judge(request.askedAt)
    this.#proposeOwn()
    const isAll = request.isAll && reported !== "Behind"
    this.whenUnchanging(() => {
      for (const waiter of request.waiters) waiter(Result.void, isAll)
    })
    if (!this.member.follows && !this.#isBusy() && !this.#wantsToKnow(this.answeredAt)) this.#sleep()
  }

  #heard(): void {
    this.#failed = 0
    this.#complaints = undefined
  }

  #failedTo(what: "load" | "persist", error: StorageError): void {
    this.#failed++
    const message = error.reason === "Invalid" ? "Failed to decode" : `Failed to ${what}`
    this.member.engine.complain(`${message} a circuit`, this.#name, error, () => this.#complaints ??= new Set())
    if (this.away) this.#leases?.judgeAlone()
  }

  #invalid(operation: string, cause: unknown): StorageError {
    return new StorageError({ operation, circuit: this.#name, reason: "Invalid", cause })
  }

  /** Takes over what is newer, drops what is older, and puts back what the storage has lost. */
  accept(snapshot: Snapshot, knew: number, askedAt: number): void {
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
    if (snapshot.state._tag === "HalfOpen" && snapshot.state.live < this.circuit.plan.probes) this.#leases?.freed()
  }

  #confirm(snapshot: Snapshot, askedAt: number, now: number): void {
    this.snapshot = snapshot
    this.askedAt = askedAt
    this.answeredAt = now
  }

  #adopt(snapshot: Snapshot, askedAt: number, now: number): void {
    const { elapsed, generation, override, state, why } = snapshot
    const wasState = this.snapshot.state._tag
    // Others probe what it has found well: it goes on until it has said so.
    const goesOn = this.#isDefiant() && state._tag === "HalfOpen"
    const adopted: Adopted = {
      state: goesOn ? { _tag: "Closed" } : this.#stateOf(snapshot, now),
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
    this.#unsent.forgetEvidence()
    this.#confirm(snapshot, askedAt, now)
    this.#suspect = undefined
    this.#leases?.forget(generation)
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
    this.#change(
      { _tag: "PutBack", snapshot: this.snapshot, age, leases: this.#leases?.held(now) ?? [] },
      (changed, askedAt) => {
        if (changed.snapshot.generation < generation && generation === this.snapshot.generation) {
          this.#believe(changed.snapshot, askedAt, this.member.engine.now())
        } else this.accept(changed.snapshot, -1, askedAt)
      }
    )
  }

  #believe(snapshot: Snapshot, askedAt: number, now: number): void {
    this.#adopt(snapshot, askedAt, now)
    if (this.#unsent.pending !== undefined) this.#unsent.pending.generation = snapshot.generation
  }

  // -----------------------------------------------------------------------------
  // changes
  // -----------------------------------------------------------------------------

  #change(change: Change, heard: (changed: Changed, askedAt: number) => void): void {
    const { storage } = this.member.engine
    const askedAt = this.member.engine.now()
    this.#ask("change", () => storage.change(this.#name, change), (changed) => {
      if (changed.committed) this.persisted(changed.snapshot)
      heard(changed, askedAt)
    })
  }

  /** Asks for a lease or settles one. Says that it has ended, what was heard if anything, and that all is done that follows. */
  probe(probe: Probe, ended: () => void, heard: (probed: Probed) => void, after: () => void): void {
    const { lane, engine: { storage } } = this.member
    this.#ask("probe", () => storage.probe(this.#name, probe), heard, (ok) => {
      ended()
      if (!ok) lane.add(this)
    }, after)
  }

  #ask<A extends Changed | Probed>(
    operation: string,
    request: () => Effect.Effect<A, StorageError>,
    heard: (answer: A) => void,
    ended: (ok: boolean) => void = () => {},
    after: () => void = () => {}
  ): void {
    this.#changing++
    this.member.engine.attempt(operation, this.#name, request, (result) => {
      this.#changing--
      const isGood = Result.isSuccess(result) && isSane(result.success?.snapshot)
      ended(isGood)
      if (isGood) {
        this.#heard()
        heard(result.success)
      } else {
        const error = Result.isFailure(result) ? result.failure : this.#invalid(operation, result.success)
        this.#failedTo("persist", error)
      }
      after()
      if (this.#changing === 0) { for (const f of this.#unchanging.splice(0)) f() }
    })
  }

  persisted({ state }: Snapshot): void {
    this.member.engine.log("Debug", "Circuit persisted", { circuit: this.#name, state: state._tag })
  }

  /** Judges the fleet by its pooled evidence. One bad node must not open it for all, so what trips has to last. */
  #judge(askedAt: number): void {
    const { circuit, member: { lane: { interval }, policy, pooled }, snapshot } = this
    const mode = snapshot.override?.kind
    const isJudged = pooled && snapshot.state._tag === "Closed" && mode !== "ForcedOpen" && mode !== "Disabled"
    const reason = isJudged ? trips(circuit.plan.rule, this) : undefined
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
    if (this.#changing > 0 || !isWritable(this.snapshot)) return
    const { circuit: { plan: { maxOpenFor } }, member: { fingerprint, lane: { interval } } } = this
    const opening: Opening | undefined = openFor === undefined ? undefined : { openFor, maxOpenFor }
    const { generation } = this.snapshot
    this.#change(
      { _tag: "Trip", generation, asOf, maxAge: 2 * interval, opening, why, fingerprint },
      ({ snapshot }, askedAt) => this.accept(snapshot, generation, askedAt)
    )
  }

  /** What an operator wants, of the whole fleet. */
  operate(id: string, to: OperationTo, why: Why): Effect.Effect<void, StorageError> {
    return Effect.callback<void, StorageError>((resume) => {
      const end = (exit: Effect.Effect<void, StorageError>): void => {
        this.operator = undefined
        resume(exit)
      }
      const { engine } = this.member
      const askedAt = engine.now()
      const { generation: known } = this.snapshot
      this.operator = why.actor
      const operation = { _tag: "Operation", id, known, why, to } as const
      engine.attempt("change", this.#name, () => engine.storage.change(this.#name, operation), (result) => {
        if (Result.isFailure(result)) return end(Effect.fail(result.failure))
        if (!isSane(result.success?.snapshot)) return end(Effect.fail(this.#invalid("change", result.success)))
        const { committed, snapshot } = result.success
        this.#heard()
        this.accept(snapshot, -1, askedAt)
        if (committed) this.persisted(snapshot)
        end(
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
    const lease = this.#leases?.at(now) ?? "Ask"
    return lease !== "Granted" && this.away ? "Own" : lease
  }

  takeLease(now: number): Permit | undefined {
    return this.#leases?.take(now)
  }

  settleLease(permit: Permit, now: number, settlement: Settlement): void {
    this.#leases?.settle(permit, now, settlement)
  }

  #lessee(): Leases {
    return this.#leases ??= new Leases(this)
  }

  ask(): Effect.Effect<void> {
    return this.#lessee().ask()
  }

  /** Whether the own machine has closed it while nobody answered: it goes on until it has said so under a lease. */
  #isDefiant(): boolean {
    return this.snapshot.state._tag !== "Closed" && this.circuit.state === "Closed" &&
      this.snapshot.override === undefined
  }
}
