/**
 * The sync engine: keeps the circuits of this process in step with a storage, in rounds that cost the same whatever the call
 * rate. One for each `Storage` and `Clock`, shared by the breakers on it, there from the first of them to the last.
 *
 * It knows when to talk and how to bear what comes back: one round an interval for all circuits that are awake, in batches;
 * failures sooner; each request within its deadline, whatever the storage does. What to say about a circuit, and what an
 * answer means, `Replica` knows. With nothing awake no timer is armed.
 */
import * as Cause from "effect/Cause"
import * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import * as Result from "effect/Result"
import type { Scope } from "effect/Scope"
import * as Stream from "effect/Stream"
import { type Announcement, type Storage, StorageError, type Synced } from "../../Storage/Storage.ts"
import type { Circuit } from "../Circuit.ts"
import { Deadlines } from "../Deadlines.ts"
import { type Log, makeLog } from "../Log.ts"
import type { FleetPolicy, Resolved } from "../Resolve.ts"
import type { Replica, Request } from "./Replica.ts"

/** How long a storage may take to answer. */
export const DEADLINE = 1000
/** How long a call waits for the load of its circuit, or for the lease of a probe. */
const PATIENCE = 100
/** How long failures are collected before they are reported. */
const HURRY = 50
/** The most circuits of one request: a storage serves one at a time, and others wait meanwhile. */
const BATCH = 100
/** The most requests of a round that are under way at once. */
const CONCURRENCY = 8
/** After so many failed requests in a row the storage counts as away. */
const AWAY = 2
/** So many requests may ignore their interruption; with each further one the next is made later, twice as late. */
const MOST_ABANDONED = 16

/** The circuits that a breaker has now. */
export interface Circuits {
  readonly find: (name: string) => Circuit | undefined
  readonly all: () => Iterable<Circuit>
}

/** The most rounds in which a breaker that ends says what it has to say. */
const DRAINS = 3

/** What a breaker tells the engine of itself. */
export interface Member {
  readonly engine: Engine
  readonly lane: Lane
  /** Random: no two instances have the same, in whatever process. */
  readonly instance: string
  readonly policy: FleetPolicy
  /** Whether the fleet opens on pooled evidence, or with whoever trips. */
  readonly pooled: boolean
  /** Whether calls must be told of that succeed, and changes asked for that are not pushed. */
  readonly follows: boolean
  readonly withins: ReadonlyArray<number>
  readonly fingerprint: string
  circuits: Circuits
  /** Whether another policy than its own was met. */
  mismatched: boolean
  /** Whether a newer version than this was met. */
  outdated: boolean
  left: boolean
}

export class Engine {
  readonly storage: Storage
  readonly idleTimeToLive: number
  readonly log: Log
  /** The newest name of a report or a lease. */
  sequence = 0
  readonly #clock: Clock.Clock
  readonly #context: Context.Context<never>
  readonly #fibers = new Set<Fiber.Fiber<unknown, unknown>>()
  readonly #lanes = new Map<number, Lane>()
  readonly #members = new Set<Member>()
  readonly #deadlines: Deadlines
  readonly #patience: Deadlines
  /** Replicas with somebody who waits for an answer to a request that was not sent yet. */
  readonly #awaited = new Set<Replica>()
  #pumping = false
  #failed = 0
  #abandoned = 0
  #nextAttemptAt = -Infinity
  #subscribed = false
  #deaf = false
  readonly #complaints = new Set<string>()
  #complainedAt = -Infinity

  constructor(storage: Storage, clock: Clock.Clock, context: Context.Context<never>) {
    this.storage = storage
    this.idleTimeToLive = Duration.toMillis(storage.idleTimeToLive)
    this.#clock = clock
    this.#context = context
    this.log = makeLog(context)
    const now = (): number => this.now()
    const fork = (effect: Effect.Effect<void>): void => this.#fork(effect)
    this.#deadlines = new Deadlines(DEADLINE, now, clock, fork)
    this.#patience = new Deadlines(PATIENCE, now, clock, fork)
  }

  /** Monotonic milliseconds. */
  now(): number {
    return Number(this.#clock.monotonicTimeNanosUnsafe()) / 1e6
  }

  /** Whether nothing has been heard of the storage for too long to count on it. */
  get away(): boolean {
    return this.#failed >= AWAY
  }

  // -----------------------------------------------------------------------------
  // members
  // -----------------------------------------------------------------------------

  lane(interval: number): Lane {
    let lane = this.#lanes.get(interval)
    if (lane === undefined) this.#lanes.set(interval, lane = new Lane(this, interval))
    return lane
  }

  join(member: Member): void {
    this.#members.add(member)
  }

  /** Sends what its circuits have to say, within the time of one request, and ends with the last member. */
  leave(member: Member): Effect.Effect<void> {
    const replicas = (): ReadonlyArray<Replica> => {
      const made = [...member.circuits.all()].flatMap(({ replica }) => replica ?? [])
      return [...new Set([...made, ...member.lane.awake])].filter((replica) => replica.member === member)
    }
    const drain = (left: number): Effect.Effect<void> =>
      Effect.suspend(() => {
        const unsaid = this.away || left === 0 ? [] : replicas().filter((replica) => replica.isUnsaid(this.now()))
        if (unsaid.length === 0) return Effect.void
        const quiet = Effect.forEach(unsaid, (replica) =>
          Effect.callback<void>((resume) => replica.whenQuiet(() => resume(Effect.void))), {
          concurrency: "unbounded",
          discard: true
        })
        return Effect.andThen(Effect.andThen(quiet, this.round(unsaid)), drain(left - 1))
      })
    const ended = Effect.sync(() => {
      member.left = true
      this.#members.delete(member)
      if (this.#members.size > 0) return
      engines.get(this.storage)?.delete(this.#clock)
      // Those that must not end go on in new ones.
      const fibers = [...this.#fibers]
      for (const fiber of fibers) fiber.interruptUnsafe()
    })
    const drained = Effect.callback<void>((resume) => this.#within(drain(DRAINS), () => resume(Effect.void)))
    return Effect.ensuring(drained, ended)
  }

  /** Hears of changes from now on, where the storage tells of them. */
  subscribe(): void {
    if (this.#subscribed) return
    this.#subscribed = true
    this.log("Debug", "Persistence enabled", { backend: this.storage.backend })
    if (!this.storage.capabilities.pushes) return
    const heard = Effect.andThen(
      Stream.runForEach(
        Stream.suspend(() => this.storage.changes),
        (announcement) => Effect.sync(() => this.#announced(announcement))
      ),
      Effect.fail("ended")
    )
    // The rounds go on meanwhile, so nobody is told that it is tried again, but of what does not pass by itself.
    const again: Effect.Effect<void> = Effect.andThen(
      Effect.catchCause(heard, (cause) => Effect.sync(() => this.#unheard(Cause.squash(cause)))),
      Effect.suspend(() => Effect.andThen(this.#clock.sleep(Duration.millis(this.jittered(DEADLINE))), again))
    )
    this.#fork(again)
  }

  #unheard(error: unknown): void {
    if (this.#deaf || !(error instanceof StorageError) || isUnreachable(error)) return
    this.#deaf = true
    this.log("Warn", "Changes are not pushed, they are heard of a round later", { cause: error })
  }

  #announced(announcement: Announcement): void {
    if (announcement._tag === "Subscribed") {
      this.#deaf = false
      for (const { circuits } of this.#members) for (const circuit of circuits.all()) circuit.replica?.reread()
      return
    }
    for (const { circuits } of this.#members) circuits.find(announcement.circuit)?.announced(announcement)
  }

  // -----------------------------------------------------------------------------
  // requests
  // -----------------------------------------------------------------------------

  /**
   * Makes one request and says how it ended, within the deadline: at once where the storage answers at once. A storage that
   * dies or answers late has failed.
   */
  attempt<A>(
    operation: string,
    circuit: string | undefined,
    request: () => Effect.Effect<A, StorageError>,
    ended: (result: Result.Result<A, StorageError>) => void
  ): void {
    const failure = (reason: StorageError["reason"], cause: unknown): StorageError =>
      new StorageError({ operation, ...(circuit === undefined ? {} : { circuit }), reason, cause })
    const end = (result: Result.Result<A, StorageError>): void => {
      this.#heard(result)
      ended(result)
    }
    if (this.#abandoned >= MOST_ABANDONED && this.now() < this.#nextAttemptAt) {
      return end(Result.fail(failure("Unavailable", "requests that cannot be interrupted are still under way")))
    }
    const resultOf = (exit: Exit.Exit<A, StorageError>): Result.Result<A, StorageError> => {
      if (exit._tag === "Success") return Result.succeed(exit.value)
      const error = Cause.squash(exit.cause)
      return Result.fail(error instanceof StorageError ? error : failure("Invalid", error))
    }
    this.#within(Effect.suspend(request), (exit) =>
      end(
        exit === undefined ? Result.fail(failure("Deadline", `no answer within ${DEADLINE} ms`)) : resultOf(exit)
      ))
  }

  /** Runs an effect and says how it ended: at once where it can, and `undefined` where it took too long. */
  #within<A, E>(effect: Effect.Effect<A, E>, ended: (exit: Exit.Exit<A, E> | undefined) => void): void {
    const fiber = Effect.runForkWith(this.#context)(effect)
    const exit = fiber.pollUnsafe()
    if (exit !== undefined) return ended(exit)
    let waits = true
    const deadline = this.#deadlines.add(() => {
      waits = false
      this.#abandoned++
      this.#nextAttemptAt = this.now() + DEADLINE * 2 ** Math.max(0, this.#abandoned - MOST_ABANDONED)
      fiber.interruptUnsafe()
      ended(undefined)
    })
    fiber.addObserver((exit) => {
      if (!waits) {
        this.#abandoned--
        return
      }
      waits = false
      this.#deadlines.remove(deadline)
      ended(exit)
    })
  }

  #heard(result: Result.Result<unknown, StorageError>): void {
    if (Result.isSuccess(result)) {
      if (this.away) this.log("Info", "The storage has recovered", { backend: this.storage.backend })
      this.#failed = 0
      this.#complaints.clear()
    } else if (isUnreachable(result.failure)) {
      this.#failed++
      if (this.#failed === AWAY) {
        this.log("Warn", "The storage is unreachable, continuing in memory", { backend: this.storage.backend })
      }
    }
  }

  /** An effect that waits for something, but no longer than a call may be kept. */
  patiently(waitFor: (done: () => void) => void): Effect.Effect<void> {
    return Effect.callback<void>((resume) => {
      let waits = true
      const deadline = this.#patience.add(() => {
        waits = false
        resume(Effect.void)
      })
      const stop = (): void => {
        if (waits) this.#patience.remove(deadline)
        waits = false
      }
      waitFor(() => {
        stop()
        resume(Effect.void)
      })
      return Effect.sync(stop)
    })
  }

  /**
   * Asks for a replica's circuit as soon as it can be, for those who wait in it. What comes together while a request is under
   * way shares the next one.
   */
  request(replica: Replica): void {
    this.#awaited.add(replica)
    this.#pump()
  }

  #pump(): void {
    if (this.#pumping) return
    const batch = [...this.#awaited].filter((replica) => replica.current === undefined).slice(0, BATCH)
    if (batch.length === 0) return
    for (const replica of batch) this.#awaited.delete(replica)
    this.#pumping = true
    this.#send(batch.map((replica) => replica.begin()), () => {
      this.#pumping = false
    })
  }

  /** One round trip. Every replica hears how it ended for its circuit, after which others may ask for it. */
  #send(requests: ReadonlyArray<Request>, ended: () => void): void {
    const reports = requests.map(({ report }) => report)
    this.attempt(
      "sync",
      reports.length === 1 ? reports[0]!.circuit : undefined,
      () => this.storage.sync(reports),
      (result) => {
        for (const [i, request] of requests.entries()) request.replica.answered(request, answerTo(result, i, request))
        ended()
        this.#pump()
      }
    )
  }

  /** Asks for all of them that have something to say or to hear, in batches. While the storage is away one asks for all. */
  round(replicas: ReadonlyArray<Replica>): Effect.Effect<void> {
    const batches = Array.from(
      { length: Math.ceil(replicas.length / BATCH) },
      (_, i) => replicas.slice(i * BATCH, (i + 1) * BATCH)
    )
    return Effect.forEach(batches, (batch, i) =>
      Effect.andThen(
        Effect.yieldNow,
        Effect.callback<void>((resume) => {
          if (this.away && i > 0) return resume(Effect.void)
          const requests = batch.flatMap((replica) => replica.next() ?? [])
          if (requests.length === 0) return resume(Effect.void)
          this.#send(requests, () => resume(Effect.void))
        })
      ), { concurrency: CONCURRENCY, discard: true })
  }

  // -----------------------------------------------------------------------------
  // time and words
  // -----------------------------------------------------------------------------

  /** An interval, or part of one while requests fail, so that those who fail together do not come back together. */
  jittered(interval: number): number {
    return this.#failed === 0
      ? interval
      : interval * (0.5 + Context.get(this.#context, Random.Random).nextDoubleUnsafe() / 2)
  }

  after(millis: number, effect: Effect.Effect<void>): void {
    this.#fork(Effect.andThen(this.#clock.sleep(Duration.millis(millis)), effect))
  }

  #fork(effect: Effect.Effect<void>): void {
    const fiber = Effect.runForkWith(this.#context)(effect)
    if (fiber.pollUnsafe() !== undefined) return
    this.#fibers.add(fiber)
    fiber.addObserver(() => this.#fibers.delete(fiber))
  }

  /** Says once an outage, and once a circuit where it is that circuit's own, that something failed. */
  complain(message: string, circuit: string, error: StorageError, own: () => Set<string>): void {
    const isOwn = !isUnreachable(error)
    const complaints = isOwn ? own() : this.#complaints
    if (complaints.has(message)) return
    complaints.add(message)
    // A storage that makes no sense of one circuit may make none of a hundred thousand.
    const now = this.now()
    if (isOwn && now - this.#complainedAt < DEADLINE) return
    this.#complainedAt = now
    this.log("Error", message, { circuit, cause: error })
  }
}

const isUnreachable = ({ reason }: StorageError): boolean => reason === "Unavailable" || reason === "Deadline"

/** What a storage said of one request of a batch. It may have said anything. */
const answerTo = (
  result: Result.Result<ReadonlyArray<Synced>, StorageError>,
  i: number,
  { report }: Request
): Synced["result"] => {
  if (Result.isFailure(result)) return Result.fail(result.failure)
  const answer: Synced | undefined = Array.isArray(result.success) ? result.success[i] : undefined
  return answer?.circuit === report.circuit && Result.isResult(answer.result)
    ? answer.result
    : Result.fail(
      new StorageError({
        operation: "sync",
        circuit: report.circuit,
        reason: "Invalid",
        cause: "no answer for the circuit"
      })
    )
}

/** The rounds of all circuits with one interval. */
export class Lane {
  readonly interval: number
  /** What takes part in the next round. */
  readonly awake = new Set<Replica>()
  readonly #engine: Engine
  readonly #hurried = new Set<Replica>()
  #ticks = false

  constructor(engine: Engine, interval: number) {
    this.interval = interval
    this.#engine = engine
  }

  add(replica: Replica): void {
    this.awake.add(replica)
    this.#arm()
  }

  /** A round for what cannot wait. */
  hurry(replica: Replica): void {
    this.add(replica)
    if (this.#hurried.size === 0) this.#engine.after(Math.min(HURRY, this.interval), this.#flush)
    this.#hurried.add(replica)
  }

  readonly #flush: Effect.Effect<void> = Effect.suspend(() => {
    const replicas = [...this.#hurried]
    this.#hurried.clear()
    return this.#engine.round(replicas)
  })

  #arm(): void {
    if (this.#ticks || this.awake.size === 0) return
    this.#ticks = true
    this.#engine.after(this.#engine.jittered(this.interval), this.#tick)
  }

  // Armed again before the round, which a request that hangs may hold up: its circuits are passed over until it has ended.
  readonly #tick: Effect.Effect<void> = Effect.suspend(() => {
    this.#ticks = false
    this.#arm()
    return this.#engine.round([...this.awake])
  })
}

/** What nobody else will come upon. */
export const randomId: Effect.Effect<string> = Effect.map(
  Effect.all([Random.next, Random.next, Random.next]),
  (parts) => parts.map((part) => part.toString(36).slice(2)).join("")
)

const engines = new WeakMap<Storage, Map<Clock.Clock, Engine>>()

const engineOf = (storage: Storage, clock: Clock.Clock, context: Context.Context<never>): Engine => {
  let byClock = engines.get(storage)
  if (byClock === undefined) engines.set(storage, byClock = new Map())
  let engine = byClock.get(clock)
  if (engine === undefined) byClock.set(clock, engine = new Engine(storage, clock, context))
  return engine
}

/**
 * Brings a breaker into the fleet of its storage, for as long as the scope is open. `undefined` where the storage cannot decide
 * between those who write at once, so that nothing can be agreed.
 */
export const makeMember = (
  storage: Storage,
  { fleet: policy, windows }: Resolved,
  fingerprint: string
): Effect.Effect<Member | undefined, never, Scope> =>
  Effect.suspend(() => {
    const { fences, pushes, shared } = storage.capabilities
    if (!fences) return Effect.succeed(undefined)
    const pooled = (policy.evidence ?? (shared ? "pooled" : "any")) === "pooled"
    return Effect.acquireRelease(
      Effect.contextWith((context: Context.Context<never>) =>
        Effect.map(Effect.all([Clock.Clock, randomId]), ([clock, instance]): Member => {
          const engine = engineOf(storage, clock, context)
          const member: Member = {
            engine,
            lane: engine.lane(policy.syncEvery),
            instance,
            policy,
            pooled,
            follows: pooled || shared || !pushes || policy.maxAge !== Infinity,
            withins: windows.flatMap((window) => window._tag === "Within" ? [window.duration] : []),
            fingerprint,
            circuits: { find: () => undefined, all: () => [] },
            mismatched: false,
            outdated: false,
            left: false
          }
          engine.join(member)
          return member
        })
      ),
      (member) => member.engine.leave(member)
    )
  })
