/**
 * Effect's `CircuitBreakerStore` on a storage of ours. Its breakers ask the store before and after every call, so each of these is a
 * request; what waits for the same circuit shares one.
 *
 * **Invariants**
 *
 * - Of a circuit at most one report is under way, because a storage takes the older of two reports of one instance for a repeat.
 * - A request to admit is answered by a report that was sent after it came, so it is decided on a view that is no older.
 * - The generation of an admission is the circuit's, which is never negative, or of a probe a negative number that only this store
 *   knows: a half-open round has one generation for all its probes, and a later probe must shut out an earlier one.
 * - A running probe holds one lease. To renew it, a second one is granted, and then the first one given back. All others ask for leases
 *   as the only probe, so none is granted in between.
 * - A probe whose lease has lapsed by this process's clock decides nothing. That clock counts from the request, so it is over here first.
 */
import * as Clock from "effect/Clock"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as CircuitBreaker from "effect/persistence/CircuitBreaker"
import * as Result from "effect/Result"
import type * as Scope from "effect/Scope"
import * as Semaphore from "effect/Semaphore"
import { streakOf } from "../../core/Delta.ts"
import type { LocalMillis } from "../../core/Time.ts"
import { REQUEST_DEADLINE_MILLIS } from "../../internal/Bounds.ts"
import { monotonicMillis, sleepInBackground } from "../../internal/Clock.ts"
import { Deadlines } from "../../internal/Deadlines.ts"
import { type Fork, makeFork } from "../../internal/Fork.ts"
import { randomId } from "../../internal/Ids.ts"
import { type Log, makeLogUntilClosed, unhandled } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import { Requests } from "../../internal/Request.ts"
import { errorOf, type RequestName } from "../../internal/StorageErrors.ts"
import * as Storage from "../../Storage/Storage.ts"
import { halfOpenError, openError, storeError } from "./EffectErrors.ts"
import { firstTrip, LastCalls, type Outcome, reportable } from "./EffectTrips.ts"

export interface Settings {
  readonly prefix: string
  readonly leaseMillis: number
  readonly maxLeaseMillis: number
}

type Record = Parameters<CircuitBreaker.CircuitBreakerStore["Service"]["record"]>[0]
type Transition = CircuitBreaker.Transition | undefined

/** The generation of a call that an operator's `Disabled` let through. No record is made of it. */
const UNRECORDED = -1

/** The longest time that the counts of a generation are looked at. Its buckets are 10 minutes wide, the widest that there are. */
const LONGEST_WITHIN_MILLIS = 10 * 60 * 60 * 1000

/** A trip that was decided on a view older than this is refused, as when this process was paused. */
const TRIP_MAX_AGE_MILLIS = 2 * REQUEST_DEADLINE_MILLIS

/** The longest open time, some 35,000 years, beyond which times are no whole numbers any more. */
const LONGEST_MILLIS = 2 ** 50

/** Who waits for the next report of a circuit, and with which outcome. */
interface Waiting {
  readonly outcome: Outcome | undefined
  readonly answered: (answer: Result.Result<Answer, Storage.StorageError>) => void
}

interface Answer {
  readonly snapshot: Storage.Snapshot
  /** Why the outcome trips the circuit, if it does. */
  readonly trip?: string | undefined
}

type Asked = Result.Result<Storage.Probed, Storage.StorageError>

const nothing = { success: 0, failure: 0, ignored: 0, timeout: 0, slow: 0, rejected: 0 }

class Circuit {
  readonly key: string
  readonly name: string
  readonly waiting: Array<Waiting> = []
  isReporting = false
  /** Those who wait for the answer to a request for a lease; `undefined` while there is none. */
  asking: Array<(asked: Asked) => void> | undefined = undefined
  lastCalls = new LastCalls(0)
  /** Counts for the statistics only. They are sent with the next outcome that is evidence. */
  aside = { ...nothing }
  usedAt: LocalMillis = -Infinity

  constructor(key: string, name: string) {
    this.key = key
    this.name = name
  }

  get isIdle(): boolean {
    return !this.isReporting && this.waiting.length === 0 && this.asking === undefined
  }

  /** Takes those whom the next report serves: all who only read, and the first outcomes. */
  take(): ReadonlyArray<Waiting> {
    const all = this.waiting.splice(0)
    const most = reportable(all.flatMap(({ outcome }) => outcome ?? []))
    const taken: Array<Waiting> = []
    let outcomes = 0
    for (const waiting of all) {
      const isTaken = waiting.outcome === undefined || outcomes++ < most
      if (isTaken) taken.push(waiting)
      else this.waiting.push(waiting)
    }
    return taken
  }
}

/** A probe that was admitted and is not recorded. */
interface Probe {
  readonly circuit: Circuit
  readonly generation: number
  /** When its lease is renewed no more. */
  readonly endsAt: LocalMillis
  /** Held while the lease is renewed or given back, so that none is granted after the end. */
  readonly lock: Semaphore.Semaphore
  lease: Storage.LeaseName
  /** Until when the lease holds its place. */
  until: LocalMillis
  /** Leases that it may hold, too: those whose request or whose return was not answered. */
  readonly doubtful: Set<Storage.LeaseName>
  isOver: boolean
}

export class Store {
  readonly #storage: Storage.Storage
  readonly #settings: Settings
  readonly #instance: string
  readonly #clock: Clock.Clock
  readonly #requests: Requests
  readonly #deadlines: Deadlines
  readonly #idleMillis: number
  readonly #log: Log
  /** Whether the last request failed. */
  #isFailing = false
  readonly #circuits = new Map<string, Circuit>()
  /** The probes by their generations. */
  readonly #probes = new Map<number, Probe>()
  #sequence = 0
  #lastToken = UNRECORDED
  #sweptAt: LocalMillis

  constructor(
    { clock, fork, instance, log, settings, storage }: {
      readonly storage: Storage.Storage
      readonly settings: Settings
      readonly instance: string
      readonly clock: Clock.Clock
      readonly fork: Fork
      readonly log: Log
    }
  ) {
    this.#storage = storage
    this.#log = log
    this.#settings = settings
    this.#instance = instance
    this.#clock = clock
    this.#requests = new Requests(clock, fork)
    this.#deadlines = new Deadlines(REQUEST_DEADLINE_MILLIS, () => this.#now(), clock, fork)
    this.#idleMillis = Duration.toMillis(storage.idleTimeToLive)
    this.#sweptAt = this.#now()
  }

  #now(): LocalMillis {
    return monotonicMillis(this.#clock)
  }

  #circuit(key: string): Circuit {
    const now = this.#now()
    if (now - this.#sweptAt >= this.#idleMillis) this.#sweep(now)
    let circuit = this.#circuits.get(key)
    if (circuit === undefined) this.#circuits.set(key, circuit = new Circuit(key, this.#settings.prefix + key))
    circuit.usedAt = now
    return circuit
  }

  #sweep(now: LocalMillis): void {
    this.#sweptAt = now
    for (const [key, circuit] of this.#circuits) {
      if (circuit.isIdle && now - circuit.usedAt >= this.#idleMillis) this.#circuits.delete(key)
    }
  }

  // -----------------------------------------------------------------------------
  // requests
  // -----------------------------------------------------------------------------

  #send<A>(
    request: { readonly operation: string; readonly circuit: string },
    ask: (circuit: string) => Effect.Effect<A, Storage.StorageError>,
    ended: (result: Result.Result<A, Storage.StorageError>) => void
  ): () => void {
    const { circuit } = request
    return this.#requests.send(request, () => ask(circuit), this.#deadlines, (result) => {
      this.#note(request, result)
      ended(result)
    })
  }

  /** Logs the first of the failures in a row, with its cause, which Effect's error does not have. */
  #note({ circuit }: RequestName, result: Result.Result<unknown, Storage.StorageError>): void {
    const isFailure = Result.isFailure(result)
    if (isFailure && !this.#isFailing) this.#log(messages.effectStoreFailed, { circuit, cause: result.failure })
    this.#isFailing = isFailure
  }

  #ask<A>(
    operation: "change" | "probe",
    { name }: Circuit,
    ask: (circuit: string) => Effect.Effect<A, Storage.StorageError>
  ): Effect.Effect<A, Storage.StorageError> {
    return Effect.callback((resume) => {
      const cancel = this.#send({ operation, circuit: name }, ask, (result) => resume(Effect.fromResult(result)))
      return Effect.sync(cancel)
    })
  }

  // -----------------------------------------------------------------------------
  // reports
  // -----------------------------------------------------------------------------

  /** The view of a circuit after an outcome, or with none of a moment after the asking. */
  #report(circuit: Circuit, outcome?: Outcome): Effect.Effect<Answer, Storage.StorageError> {
    return Effect.callback((resume) => {
      circuit.waiting.push({ outcome, answered: (answer) => resume(Effect.fromResult(answer)) })
      this.#pump(circuit)
    })
  }

  /** Sends the next report, if there is someone to answer and none under way. */
  #pump(circuit: Circuit): void {
    if (circuit.isReporting || circuit.waiting.length === 0) return
    circuit.isReporting = true
    const batch = circuit.take()
    const outcomes = batch.flatMap(({ outcome }) => outcome ?? [])
    const report = this.#reportOf(circuit, outcomes)
    const sync = Effect.suspend(() => this.#storage.sync([report])).pipe(
      Effect.flatMap(([synced]) => Effect.fromResult(synced!.result))
    )
    this.#send({ operation: "sync", circuit: circuit.name }, () => sync, (result) => {
      circuit.isReporting = false
      const answer = Result.map(result, ({ snapshot }) => snapshot)
      const trip = Result.isSuccess(answer) ? judge(circuit, outcomes, answer.success) : undefined
      const tripping = trip === undefined ? undefined : outcomes[trip.index]
      for (const { answered, outcome } of batch) {
        const reason = outcome !== undefined && outcome === tripping ? trip?.reason : undefined
        answered(Result.map(answer, (snapshot) => ({ snapshot, trip: reason })))
      }
      this.#pump(circuit)
    })
  }

  #reportOf(circuit: Circuit, outcomes: ReadonlyArray<Outcome>): Storage.CircuitReport {
    const failed = outcomes.map(({ isFailure }) => isFailure)
    const failure = failed.filter((isFailure) => isFailure).length
    const success = failed.length - failure
    const aside = outcomes.length === 0 ? nothing : circuit.aside
    if (outcomes.length > 0) circuit.aside = { ...nothing }
    return {
      circuit: circuit.name,
      instance: this.#instance,
      sequence: ++this.#sequence,
      generation: outcomes[0]?.generation ?? 0,
      delta: {
        buckets: outcomes.length === 0 ? [] : [{ age: 0, success, failure, slow: 0 }],
        streak: streakOf(failed),
        lifetime: {
          ...aside,
          success: aside.success + success,
          failure: aside.failure + failure,
          ...(success > 0 ? { lastSuccessAge: 0 } : {}),
          ...(failure > 0 ? { lastFailureAge: 0 } : {})
        },
        hint: 0
      },
      withins: outcomes.some(isOfRate) ? [LONGEST_WITHIN_MILLIS] : []
    }
  }

  // -----------------------------------------------------------------------------
  // admission
  // -----------------------------------------------------------------------------

  admit(key: string): Effect.Effect<CircuitBreaker.Admission, CircuitBreaker.CircuitBreakerError, Scope.Scope> {
    return Effect.suspend(() => {
      const circuit = this.#circuit(key)
      return Effect.flatMap(
        Effect.mapError(this.#report(circuit), storeError),
        ({ snapshot }) => admissionAt(circuit, snapshot) ?? this.#admitProbe(circuit, snapshot)
      )
    })
  }

  /** Asks for the lease of a probe, or waits for the answer to who asks already. */
  #admitProbe(circuit: Circuit, snapshot: Storage.Snapshot) {
    if (circuit.asking === undefined) return this.#askForLease(circuit, snapshot)
    const { asking } = circuit
    const asked = Effect.callback<Storage.Probed, Storage.StorageError>((resume) => {
      asking.push((asked) => resume(Effect.fromResult(asked)))
    })
    return Effect.flatMap(
      Effect.mapError(asked, storeError),
      ({ granted, snapshot }) => granted ? refused(circuit, halfOpenError(circuit.key)) : afterDenial(circuit, snapshot)
    )
  }

  #askForLease(circuit: Circuit, { generation, state }: Storage.Snapshot) {
    return Effect.gen({ self: this }, function*() {
      const asking: NonNullable<Circuit["asking"]> = circuit.asking = []
      const requestedAt = this.#now()
      const { leaseMillis, maxLeaseMillis } = this.#settings
      const lease = { instance: this.#instance, sequence: ++this.#sequence }
      const duration = Math.min(leaseMillis, maxLeaseMillis)
      const asked = yield* Effect.result(
        this.#probe(circuit, { _tag: "Ask", lease, generation, duration, probes: 1 })
      ).pipe(Effect.onExit((exit) =>
        Effect.sync(() => {
          circuit.asking = undefined
          const asked = Exit.isSuccess(exit) ? exit.value : Result.fail(errorOf({ operation: "probe" }, exit.cause))
          for (const answered of asking) answered(asked)
        })
      ))
      if (Result.isFailure(asked)) return yield* storeError(asked.failure)
      const { granted, snapshot } = asked.success
      if (!granted) return yield* afterDenial(circuit, snapshot)
      const probe: Probe = {
        circuit,
        generation: snapshot.generation,
        endsAt: requestedAt + maxLeaseMillis,
        lock: Semaphore.makeUnsafe(1),
        lease,
        until: requestedAt + duration,
        doubtful: new Set(),
        isOver: false
      }
      return {
        generation: yield* this.#start(probe),
        probe: true,
        consecutiveOpenings: snapshot.openings,
        transition: state._tag === "Open" ? { key: circuit.key, from: "Open", to: "HalfOpen" } : undefined
      } satisfies CircuitBreaker.Admission
    })
  }

  #probe(circuit: Circuit, probe: Storage.Probe): Effect.Effect<Storage.Probed, Storage.StorageError> {
    return this.#ask("probe", circuit, (name) => this.#storage.probe(name, probe))
  }

  // -----------------------------------------------------------------------------
  // probes
  // -----------------------------------------------------------------------------

  /** Renews the lease of a probe until its scope closes, and returns the generation by which it is recorded. */
  #start(probe: Probe): Effect.Effect<number, never, Scope.Scope> {
    return Effect.suspend(() => {
      const now = this.#now()
      // Those that nobody will record, because their calls have ended without.
      for (const [token, { isOver, until }] of this.#probes) if (isOver && now >= until) this.#probes.delete(token)
      const token = --this.#lastToken
      this.#probes.set(token, probe)
      const ended = Effect.sync(() => {
        probe.isOver = true
      })
      return Effect.as(
        Effect.andThen(
          Effect.addFinalizer(() => ended),
          Effect.forkScoped(Effect.interruptible(this.#renewals(probe)))
        ),
        token
      )
    })
  }

  #renewals(probe: Probe): Effect.Effect<void> {
    const renewal = Effect.andThen(
      sleepInBackground(this.#clock, this.#settings.leaseMillis / 3),
      probe.lock.withPermits(1)(Effect.suspend(() => this.#renew(probe)))
    )
    return Effect.asVoid(Effect.repeat(renewal, { while: (isHeld) => isHeld }))
  }

  /** Whether the probe may hold its place still. */
  #renew(probe: Probe): Effect.Effect<boolean> {
    const requestedAt = this.#now()
    const duration = Math.min(this.#settings.leaseMillis, probe.endsAt - requestedAt)
    if (probe.isOver || requestedAt >= probe.until || requestedAt + duration <= probe.until) {
      return Effect.succeed(false)
    }
    const { circuit, doubtful, generation, lease } = probe
    const next = { instance: this.#instance, sequence: ++this.#sequence }
    doubtful.add(next)
    return this.#probe(circuit, { _tag: "Ask", lease: next, generation, duration, probes: 2 }).pipe(
      Effect.flatMap(({ granted }) => {
        doubtful.delete(next)
        if (!granted) return Effect.succeed(false)
        probe.lease = next
        probe.until = requestedAt + duration
        doubtful.add(lease)
        return Effect.as(this.#giveBack(probe, lease), true)
      }),
      Effect.catchCause((cause) => Effect.as(unhandled(messages.leaseNotRenewed, cause), true))
    )
  }

  #giveBack({ circuit, doubtful, generation }: Probe, lease: Storage.LeaseName) {
    return Effect.tap(
      this.#probe(circuit, { _tag: "Settle", lease, generation, outcome: { _tag: "Ignored" } }),
      Effect.sync(() => doubtful.delete(lease))
    )
  }

  #recordProbe(probe: Probe, { openFor, outcome }: Record): Effect.Effect<Transition, Storage.StorageError> {
    return probe.lock.withPermits(1)(Effect.suspend(() => {
      probe.isOver = true
      const { circuit, doubtful, generation, lease } = probe
      circuit.aside[countOf[outcome]]++
      if (this.#now() >= probe.until) return Effect.succeed(undefined)
      if (outcome === "Ignored") {
        return Effect.as(Effect.forEach([lease, ...doubtful], (held) => this.#giveBack(probe, held)), undefined)
      }
      const openForMillis = millisOf(openFor)
      const settle: Storage.Settle = {
        lease,
        generation,
        outcome: outcome === "Success"
          ? { _tag: "Success", successes: 1, why: { reason: "a probe succeeded" } }
          : { _tag: "Failure", opening: openingFor(openForMillis), hint: 0, why: { reason: "a probe failed" } }
      }
      return Effect.map(
        this.#probe(circuit, { _tag: "Settle", ...settle }),
        ({ granted, snapshot }): Transition => {
          if (!granted) return undefined
          const { key } = circuit
          return outcome === "Success"
            ? { key, from: "HalfOpen", to: "Closed" }
            : { key, from: "HalfOpen", to: "Open", retryAfter: openFor, consecutiveOpenings: snapshot.openings }
        }
      )
    }))
  }

  // -----------------------------------------------------------------------------
  // outcomes
  // -----------------------------------------------------------------------------

  record(options: Record): Effect.Effect<Transition, CircuitBreaker.CircuitBreakerError> {
    return Effect.mapError(Effect.suspend(() => this.#record(options)), storeError)
  }

  #record(options: Record): Effect.Effect<Transition, Storage.StorageError> {
    const { generation, key, openFor, outcome, tripPolicy } = options
    if (generation < 0) {
      const probe = this.#probes.get(generation)
      this.#probes.delete(generation)
      return probe === undefined ? Effect.succeed(undefined) : this.#recordProbe(probe, options)
    }
    const circuit = this.#circuit(key)
    if (outcome === "Ignored") {
      circuit.aside.ignored++
      return Effect.succeed(undefined)
    }
    const counted = this.#report(circuit, { isFailure: outcome === "Failure", generation, tripPolicy })
    return Effect.flatMap(
      counted,
      ({ snapshot, trip }) =>
        trip === undefined ? Effect.succeed(undefined) : this.#trip(circuit, snapshot, trip, openFor)
    )
  }

  #trip(
    circuit: Circuit,
    { asOf, generation, override }: Storage.Snapshot,
    reason: string,
    openFor: Duration.Duration
  ): Effect.Effect<Transition, Storage.StorageError> {
    const { key } = circuit
    const opening = override?.kind === "MetricsOnly" ? undefined : openingFor(millisOf(openFor))
    const trip = { _tag: "Trip", generation, asOf, maxAge: TRIP_MAX_AGE_MILLIS, why: { reason }, opening } as const
    return Effect.map(
      this.#ask("change", circuit, (name) => this.#storage.change(name, trip)),
      ({ committed, snapshot }): Transition =>
        committed && opening !== undefined
          ? { key, from: "Closed", to: "Open", retryAfter: openFor, consecutiveOpenings: snapshot.openings }
          : undefined
    )
  }

  state(key: string): Effect.Effect<CircuitBreaker.State, CircuitBreaker.CircuitBreakerError> {
    return Effect.suspend(() =>
      Effect.mapBoth(this.#report(this.#circuit(key)), {
        onFailure: storeError,
        onSuccess: ({ snapshot }) => stateOf(key, snapshot)
      })
    )
  }
}

const countOf = { Success: "success", Failure: "failure", Ignored: "ignored" } as const

const isOfRate = ({ tripPolicy }: Outcome): boolean => tripPolicy._tag === "Rate"

const millisOf = (openFor: Duration.Duration): number =>
  Math.min(LONGEST_MILLIS, Math.max(0, Math.ceil(Duration.toMillis(openFor))))

const openingFor = (openFor: number): Storage.Opening => ({ openFor, maxOpenFor: openFor })

/** The outcome that trips the circuit, if it is still in the generation that they were admitted in. */
const judge = (
  circuit: Circuit,
  outcomes: ReadonlyArray<Outcome>,
  { generation, streak, totals }: Storage.Snapshot
): ReturnType<typeof firstTrip> => {
  if (outcomes[0]?.generation !== generation) return undefined
  if (circuit.lastCalls.generation !== generation) circuit.lastCalls = new LastCalls(generation)
  return firstTrip(outcomes, { streak, totals: totals[0] }, circuit.lastCalls)
}

type Decision = Effect.Effect<CircuitBreaker.Admission, CircuitBreaker.CircuitBreakerError>

const refused = (circuit: Circuit, error: CircuitBreaker.CircuitBreakerError): Decision => {
  circuit.aside.rejected++
  return Effect.fail(error)
}

/** The decision on a view; `undefined` where a lease decides. */
const admissionAt = (
  circuit: Circuit,
  { generation, openings, override, state }: Storage.Snapshot
): Decision | undefined => {
  const admitted = (generation: number): Decision =>
    Effect.succeed({ generation, probe: false, consecutiveOpenings: openings, transition: undefined })
  if (override?.kind === "ForcedOpen") return refused(circuit, openError(circuit.key, override.remaining))
  if (override !== undefined) return admitted(override.kind === "Disabled" ? UNRECORDED : generation)
  switch (state._tag) {
    case "Closed":
      return admitted(generation)
    case "Open":
      return state.remaining > 0 ? refused(circuit, openError(circuit.key, state.remaining)) : undefined
    case "HalfOpen":
      return state.live > 0 ? refused(circuit, halfOpenError(circuit.key)) : undefined
  }
}

/** The decision after a lease was denied: who asked at the same time has it. */
const afterDenial = (circuit: Circuit, snapshot: Storage.Snapshot): Decision =>
  admissionAt(circuit, snapshot) ?? refused(circuit, halfOpenError(circuit.key))

const stateOf = (key: string, { openings, override, state }: Storage.Snapshot): CircuitBreaker.State => {
  const open = (remaining: number): CircuitBreaker.State => ({
    _tag: "Open",
    key,
    retryAfter: Duration.millis(remaining),
    consecutiveOpenings: openings
  })
  if (override?.kind === "ForcedOpen") return open(override.remaining ?? 0)
  if (override !== undefined || state._tag === "Closed") return { _tag: "Closed", key }
  return state._tag === "Open"
    ? open(state.remaining)
    : { _tag: "HalfOpen", key, probing: state.live > 0, consecutiveOpenings: openings }
}

export const makeStore = (
  settings: Settings
): Effect.Effect<CircuitBreaker.CircuitBreakerStore["Service"], never, Storage.Storage | Scope.Scope> =>
  Effect.gen(function*() {
    const fork = makeFork(yield* Effect.context<never>(), yield* Effect.scope)
    const store = new Store({
      storage: yield* Storage.Storage,
      settings,
      instance: yield* randomId,
      clock: yield* Clock.Clock,
      fork,
      log: yield* makeLogUntilClosed
    })
    return CircuitBreaker.CircuitBreakerStore.of({
      admit: (key) => store.admit(key),
      record: (options) => store.record(options),
      state: (key) => store.state(key)
    })
  })
