/**
 * The engine of one storage in this process: the breakers on it, and the changes that the storage pushes. There is one for each
 * `Storage` and `Clock`, from the first breaker to the last.
 *
 * **Invariants**
 *
 * - It keeps no breaker's scope, span or loggers. Each line goes to the loggers of the breaker that it is about, and a line about
 *   the storage to those of every breaker on it, once.
 * - A push is only a hint: it may be lost, doubled or late, because rounds read everything that a push could tell.
 */
import * as Cause from "effect/Cause"
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as LogLevel from "effect/LogLevel"
import { CurrentLoggers, MinimumLogLevel } from "effect/References"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Tracer from "effect/Tracer"
import type { LocalMillis } from "../../core/Time.ts"
import { type Announcement, isStorageError, type Storage } from "../../Storage/Storage.ts"
import { hasBells } from "../Bells.ts"
import { REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"
import { type Log, makeLog } from "../Log.ts"
import { messages } from "../Messages.ts"
import type { Resolved } from "../ResolvedPolicy.ts"
import { isUnreachable } from "../StorageErrors.ts"
import { Bell, type Rung } from "./Bell.ts"
import { Connection } from "./Connection.ts"
import { Drift } from "./Drift.ts"
import { type Circuits, type Entry, GATE_IDLE, type Local } from "./Fleet.ts"
import { Member } from "./Member.ts"
import { type InForce, isPooled, type Membership, withinsOf } from "./Membership.ts"
import { Batches, type Participant, Rounds } from "./Rounds.ts"
import { lazyMillisOf } from "./Vigil.ts"

/** A breaker that ends sends its pending reports in at most so many rounds. */
const MOST_FLUSHES = 3

/** A subscription that fails for so long, while the storage answers, is logged. */
const DEAF_AFTER_MILLIS = 30_000

type Loggers = Context.Service.Shape<typeof CurrentLoggers>

/** A breaker on the engine's storage. */
interface Joined {
  readonly circuits: Circuits
  readonly loggers: Loggers
  readonly minimumLevel: LogLevel.LogLevel
}

class Engine {
  readonly connection: Connection
  readonly batches: Batches
  readonly #clock: Clock.Clock
  readonly #rounds = new Map<number, Rounds>()
  readonly #joined = new Map<Membership, Joined>()
  /** The loggers of all breakers, for lines of the storage's own. */
  #loggers: Loggers = new Set()
  #isSubscribed = false
  /** Whether it was logged that the storage does not push. */
  #hasLoggedRefusal = false
  /** Since when subscribing has failed while the storage answers; `Infinity` while it does not fail. */
  #failingSince: LocalMillis = Infinity

  constructor(storage: Storage, clock: Clock.Clock, context: Context.Context<never>) {
    this.#clock = clock
    const kept = Context.omit(CurrentLoggers, Scope.Scope, Tracer.ParentSpan)(context)
    this.connection = new Connection(storage, clock, kept, this.#log, () => this.#loggers)
    this.batches = new Batches(this.connection)
    if (hasBells(storage)) {
      const heard = (rung: Rung): void => this.#inUse(rung.circuit, (member) => member.rung(rung))
      this.connection.bell = new Bell(this.connection, storage.bells!, heard, () => {
        for (const rounds of this.#rounds.values()) rounds.look()
      })
    }
  }

  /** Of breakers with the same loggers, the one with the lowest minimum level logs the line. */
  readonly #log: Log = (line, fields) => {
    const logs = new Map<Loggers, readonly [Membership, Joined]>()
    for (const entry of this.#joined) {
      const [, { loggers, minimumLevel }] = entry
      const other = logs.get(loggers)
      if (other === undefined || LogLevel.isLessThan(minimumLevel, other[1].minimumLevel)) logs.set(loggers, entry)
    }
    for (const [{ log }] of logs.values()) log(line, fields)
  }

  readonly rounds = (intervalMillis: number): Rounds => {
    let rounds = this.#rounds.get(intervalMillis)
    if (rounds === undefined) {
      this.#rounds.set(intervalMillis, rounds = new Rounds(this.connection, this.batches, intervalMillis))
    }
    return rounds
  }

  // -----------------------------------------------------------------------------
  // breakers
  // -----------------------------------------------------------------------------

  join(membership: Membership, joined: Joined): void {
    this.#joined.set(membership, joined)
    this.#collectLoggers()
  }

  #collectLoggers(): void {
    this.#loggers = new Set([...this.#joined.values()].flatMap(({ loggers }) => [...loggers]))
  }

  /** Sends what the breaker's circuits have still to report, within the deadline of one request on any clock. */
  leave(membership: Membership): Effect.Effect<void> {
    const flushed = Effect.callback<void>((resume) =>
      this.connection.within(this.#flush(membership, MOST_FLUSHES), () => resume(Effect.void))
    )
    const left = Effect.sync(() => {
      membership.hasLeft = true
      this.#joined.delete(membership)
      this.#collectLoggers()
      if (this.#joined.size > 0) return
      engines.get(this.connection.storage)?.delete(this.#clock)
      this.connection.close()
    })
    return Effect.ensuring(flushed, left)
  }

  /** The breaker has another policy from now on. */
  reconfigure(membership: Membership, policy: Resolved, fingerprint: string): void {
    const before = { ...membership }
    const members = this.#members(membership)
    const moving = new Set<Participant>(members)
    Object.assign(membership, inForce(this, policy, before.withins))
    membership.drift.changed(fingerprint)
    if (before.rounds !== membership.rounds) before.rounds.handOver(membership.rounds, (one) => moving.has(one))
    for (const member of members) member.policyReplaced(before)
    if (before.polls || !membership.polls) return
    // These have reported nothing so far, because nobody judged by their successes.
    for (const circuit of this.#joined.get(membership)?.circuits.all() ?? []) {
      const isNew = circuit.fleet === undefined
      const member = memberInUse(circuit)
      if (isNew) member?.startFromHere()
      member?.addToRound()
    }
  }

  #flush(membership: Membership, rounds: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const pending = this.connection.isAway || rounds === 0
        ? []
        : this.#members(membership).filter((member) => member.isPending())
      if (pending.length === 0) return Effect.void
      const quiet = Effect.forEach(
        pending,
        (member) => Effect.callback<void>((resume) => member.whenQuiet(() => resume(Effect.void))),
        { concurrency: "unbounded", discard: true }
      )
      return Effect.andThen(
        Effect.andThen(quiet, this.batches.send(pending, "last")),
        this.#flush(membership, rounds - 1)
      )
    })
  }

  /** The members of a breaker: those of its circuits, and those that are still scheduled though their circuit has dropped them. */
  #members(membership: Membership): ReadonlyArray<Member> {
    const circuits = this.#joined.get(membership)?.circuits.all() ?? []
    const inUse: Array<unknown> = [...circuits].map(({ fleet }) => fleet)
    const scheduled: Iterable<Participant> = membership.rounds.scheduled
    return [...new Set([...inUse, ...scheduled])].filter(isMember).filter((member) => member.membership === membership)
  }

  // -----------------------------------------------------------------------------
  // changes that the storage pushes
  // -----------------------------------------------------------------------------

  /**
   * Subscribes to the storage's changes, and again whenever that ends. Rounds go on meanwhile, so only a refusal is logged, and a
   * subscription that keeps failing although the storage answers.
   */
  subscribe(): void {
    if (this.#isSubscribed) return
    this.#isSubscribed = true
    const { connection } = this
    const { storage } = connection
    this.#log(messages.persistenceEnabled, { backend: storage.backend })
    if (!storage.capabilities.pushes) return
    connection.subscription = { isActive: false, since: connection.now() }
    const listened = Effect.andThen(
      Stream.runForEach(
        Stream.suspend(() => storage.changes),
        (announcement) => Effect.sync(() => this.#announced(announcement))
      ),
      Effect.fail("ended")
    )
    const again: Effect.Effect<void> = Effect.andThen(
      Effect.catchCause(listened, (cause) => Effect.sync(() => this.#notSubscribed(Cause.squash(cause)))),
      Effect.suspend(() => Effect.andThen(connection.sleep(connection.jitteredMillis(REQUEST_DEADLINE_MILLIS)), again))
    )
    connection.fork(again)
  }

  #notSubscribed(error: unknown): void {
    const { connection } = this
    const now = connection.now()
    if (connection.subscription?.isActive !== false) connection.subscription = { isActive: false, since: now }
    // An outage of the whole storage has a line of its own.
    this.#failingSince = connection.isAway ? Infinity : Math.min(this.#failingSince, now)
    if (this.#hasLoggedRefusal) return
    if (isStorageError(error) && !isUnreachable(error)) {
      this.#hasLoggedRefusal = true
      this.#log(messages.subscribeRefused, { cause: error })
    } else if (now - this.#failingSince >= DEAF_AFTER_MILLIS) {
      this.#hasLoggedRefusal = true
      this.#log(messages.subscribeFailing, { backend: connection.storage.backend, cause: error })
    }
  }

  #subscribed(): void {
    this.#hasLoggedRefusal = false
    this.#failingSince = Infinity
    this.connection.subscription = { isActive: true, since: this.connection.now() }
  }

  #announced(announcement: Announcement): void {
    if (announcement._tag === "Changed") {
      return this.#inUse(announcement.circuit, (member) => member.announced(announcement))
    }
    this.#subscribed()
    for (const { circuits } of this.#joined.values()) {
      // Changes before the subscription may have been missed.
      for (const { fleet } of circuits.all()) if (isMember(fleet)) fleet.reread()
    }
  }

  /** The members of a circuit that is in use, one for each breaker. */
  #inUse(circuit: string, f: (member: Member) => void): void {
    for (const { circuits } of this.#joined.values()) {
      const member = memberInUse(circuits.find(circuit))
      if (member !== undefined) f(member)
    }
  }
}

/** Whether a circuit's fleet is a member: it always is, because only `join` below makes them. */
const isMember = (fleet: unknown): fleet is Member => fleet instanceof Member

/** A circuit's member, made if the circuit is in use. Before its first call nothing is known of it, and that call loads it. */
const memberInUse = (circuit: Local | undefined): Member | undefined => {
  const isInUse = circuit !== undefined && (circuit.fleet !== undefined || !circuit.isShut(GATE_IDLE))
  const fleet = isInUse ? circuit.join() : undefined
  return isMember(fleet) ? fleet : undefined
}

const engines = new WeakMap<Storage, Map<Clock.Clock, Engine>>()

/** A breaker's entry to the fleet of its storage. */
export interface FleetEntry extends Entry {
  /** Puts another policy in force, for the requests from now on. */
  readonly reconfigure: (policy: Resolved, fingerprint: string) => void
  /** Joins the engine with the breaker's circuits. */
  readonly enter: (circuits: Circuits) => void
  /** Sends what the circuits have still to report, and leaves the engine. */
  readonly leave: Effect.Effect<void>
}

/**
 * `undefined` where the storage cannot decide between instances. Make it and `enter` in one step: the engine ends with the last
 * breaker that has entered.
 */
export const makeEntry = (
  storage: Storage,
  clock: Clock.Clock,
  context: Context.Context<never>,
  instance: string,
  policy: Resolved,
  fingerprint: string
): FleetEntry | undefined => {
  if (!storage.capabilities.fences) return undefined
  const engine = engineOf(storage, clock, context)
  const membership = membershipOf(engine, policy, fingerprint, instance, makeLog(context))
  return {
    get readsBeforeCalls() {
      return membership.policy.maxAgeMillis !== Infinity
    },
    get waitsForReports() {
      return membership.policy.maxAgeMillis === 0
    },
    reconfigure: (policy, fingerprint) => engine.reconfigure(membership, policy, fingerprint),
    hasLeft: () => membership.hasLeft,
    isAway: () => engine.connection.isAway,
    slowdown: () => membership.rounds.pacedMillis / membership.rounds.intervalMillis,
    join: (circuit) => {
      if (membership.hasLeft) return undefined
      engine.subscribe()
      return new Member(circuit, membership)
    },
    enter: (circuits) =>
      engine.join(membership, {
        circuits,
        loggers: Context.get(context, CurrentLoggers),
        minimumLevel: Context.get(context, MinimumLogLevel)
      }),
    leave: engine.leave(membership)
  }
}

const engineOf = (storage: Storage, clock: Clock.Clock, context: Context.Context<never>): Engine => {
  let byClock = engines.get(storage)
  if (byClock === undefined) engines.set(storage, byClock = new Map())
  let engine = byClock.get(clock)
  if (engine === undefined) byClock.set(clock, engine = new Engine(storage, clock, context))
  return engine
}

const membershipOf = (
  engine: Engine,
  policy: Resolved,
  fingerprint: string,
  instance: string,
  log: Log
): Membership => ({
  ...inForce(engine, policy),
  connection: engine.connection,
  batches: engine.batches,
  instance,
  drift: new Drift(engine.connection, log, fingerprint),
  log,
  hasLoggedVersion: false,
  hasLeft: false
})

/** `known` is kept where the policy looks back over the same spans, so that the answer to a request under way still fits. */
const inForce = (
  { connection, rounds }: Engine,
  { failures, fleet: policy, leaseMillis, maxOpenForMillis, probes, rule, successes, throttle, windows }: Resolved,
  known: ReadonlyArray<number> = []
): InForce => {
  const withins = withinsOf(windows)
  const isSame = withins.length === known.length && withins.every((within, i) => within === known[i])
  const { pushes, shared } = connection.storage.capabilities
  const pooled = isPooled(policy, connection.storage)
  const polls = pooled || shared || !pushes || policy.maxAgeMillis !== Infinity
  const isQuiet = policy.isQuiet && polls && connection.bell !== undefined && policy.maxAgeMillis > 0
  return {
    rounds: rounds(policy.syncEveryMillis),
    policy,
    plan: { rule, throttle, probes, successes, failures, leaseMillis, maxOpenForMillis },
    isPooled: pooled,
    polls,
    alerts: pooled && connection.bell !== undefined && policy.maxAgeMillis > 0,
    isQuiet,
    lazyMillis: lazyMillisOf(withins, policy.syncEveryMillis, connection.idleTimeToLiveMillis),
    withins: isSame ? known : withins
  }
}
