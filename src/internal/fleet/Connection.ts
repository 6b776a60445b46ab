/**
 * The connection of this process to one storage: it sends requests within their deadline, knows whether the storage answers, and
 * logs an outage once.
 *
 * **Invariants**
 *
 * - `#failuresInARow` counts requests that got no answer while no other was answered either. A storage may consist of several
 *   servers, of which one is silent: then the requests to it say nothing about the others.
 * - A message is in `#logged` from the first request that failed so until a request succeeds.
 */
import type * as Clock from "effect/Clock"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import type * as Fiber from "effect/Fiber"
import * as Random from "effect/Random"
import { CurrentLoggers } from "effect/References"
import * as Result from "effect/Result"
import type { LocalMillis } from "../../core/Time.ts"
import type { Storage, StorageError } from "../../Storage/Storage.ts"
import { CALL_PATIENCE_MILLIS, FAILURES_UNTIL_UNREACHABLE, REQUEST_DEADLINE_MILLIS } from "../Bounds.ts"
import { monotonicMillis, sleepInBackground, whenStill } from "../Clock.ts"
import { type Deadline, Deadlines } from "../Deadlines.ts"
import { type Fork, makeFork } from "../Fork.ts"
import type { Log } from "../Log.ts"
import { type Message, messages } from "../Messages.ts"
import { Requests } from "../Request.ts"
import { isInterruption, isUnreachable, type RequestName } from "../StorageErrors.ts"
import type { Bell } from "./Bell.ts"
import { Pace } from "./Pace.ts"
import { Sleeps } from "./Sleeps.ts"

/** A line that names one circuit and why its request failed. */
export type FailureLine = Message<"circuit" | "cause">

/** Whether the changes of others arrive at once, and since when that is so. */
export interface Subscription {
  readonly isActive: boolean
  readonly since: LocalMillis
}

export class Connection {
  readonly storage: Storage
  /** Set by the engine; `undefined` where the storage does not push, or was not used yet. */
  subscription: Subscription | undefined = undefined
  /** Set by the engine; `undefined` where the storage has no bells. */
  bell: Bell | undefined = undefined
  readonly idleTimeToLiveMillis: number
  /** Logs a line about the storage to the loggers of every breaker on it. */
  readonly log: Log
  readonly sleeps: Sleeps
  readonly pace = new Pace()
  readonly #clock: Clock.Clock
  readonly #random: { readonly nextDoubleUnsafe: () => number }
  readonly #loggers: () => Context.Service.Shape<typeof CurrentLoggers>
  readonly #start: Fork
  readonly #requests: Requests
  readonly #deadlines: Deadlines
  readonly #patience: Deadlines
  readonly #fibers = new Set<Fiber.Fiber<unknown, unknown>>()
  #sequence = 0
  #failuresInARow = 0
  /** The answers so far, errors about one circuit too. */
  #answers = 0
  readonly #logged = new Set<FailureLine>()
  #loggedOwnAt: LocalMillis = -Infinity

  /** `loggers` gives those that a storage's own lines go to. */
  constructor(
    storage: Storage,
    clock: Clock.Clock,
    context: Context.Context<never>,
    log: Log,
    loggers: () => Context.Service.Shape<typeof CurrentLoggers>
  ) {
    this.storage = storage
    this.idleTimeToLiveMillis = Duration.toMillis(storage.idleTimeToLive)
    this.log = log
    this.sleeps = new Sleeps(clock)
    this.#clock = clock
    this.#random = Context.get(context, Random.Random)
    this.#loggers = loggers
    const now = (): LocalMillis => this.now()
    const fork = (effect: Effect.Effect<void>): void => this.fork(effect)
    this.#start = makeFork(context)
    this.#requests = new Requests(clock, this.#start)
    this.#deadlines = new Deadlines(REQUEST_DEADLINE_MILLIS, now, clock, fork)
    this.#patience = new Deadlines(CALL_PATIENCE_MILLIS, now, clock, fork)
  }

  now(): LocalMillis {
    return monotonicMillis(this.#clock)
  }

  /** A number for a report or a lease, above all that were given before. */
  nextSequence(): number {
    return ++this.#sequence
  }

  // -----------------------------------------------------------------------------
  // requests
  // -----------------------------------------------------------------------------

  /** Whether the storage counts as unreachable, so that instances decide alone. */
  get isAway(): boolean {
    return this.#failuresInARow >= FAILURES_UNTIL_UNREACHABLE
  }

  /** Sends a request. `ended` gets its result within the deadline, and at once where the storage answers at once. */
  send<A>(
    name: RequestName,
    request: () => Effect.Effect<A, StorageError>,
    ended: (result: Result.Result<A, StorageError>) => void
  ): void {
    this.sleeps.look()
    const logged = () => Effect.provideService(Effect.suspend(request), CurrentLoggers, this.#loggers())
    const answers = this.#answers
    const sentAt = this.now()
    this.#requests.send(name, logged, this.#deadlines, (result) => {
      const isAnswering = this.#answers > answers
      // That a request was refused, or got no answer from one of several servers, says nothing about how fast others are.
      if (Result.isSuccess(result) || (result.failure.reason === "Deadline" && !isAnswering)) {
        this.pace.took(this.now() - sentAt)
      }
      this.#note(result, isAnswering)
      ended(result)
    })
  }

  /** `isAnswering` says whether other requests were answered since this one was sent. */
  #note(result: Result.Result<unknown, StorageError>, isAnswering: boolean): void {
    const { backend } = this.storage
    if (Result.isSuccess(result)) {
      if (this.isAway) this.log(messages.storageRecovered, { backend })
      this.#answers++
      this.#failuresInARow = 0
      this.#logged.clear()
    } else if (isUnreachable(result.failure) && !isAnswering) {
      this.#failuresInARow++
      if (this.#failuresInARow === FAILURES_UNTIL_UNREACHABLE) this.log(messages.storageUnreachable, { backend })
    }
  }

  /**
   * Runs an effect, and calls `ended` when it has ended or after the deadline of one request: by the clock, or in real time where
   * the clock stands still, so that what waits for it ends under a test's clock, too.
   */
  within(effect: Effect.Effect<void>, ended: () => void): void {
    let isOver = false
    let stopLooking = (): void => {}
    const end = (): void => {
      if (isOver) return
      isOver = true
      stopLooking()
      ended()
    }
    const cancel = this.#requests.run(effect, this.#deadlines, end)
    if (isOver) return
    stopLooking = whenStill(this.#clock, REQUEST_DEADLINE_MILLIS, () => {
      cancel()
      end()
    })
  }

  /** An effect that waits until it is resumed, but no longer than a call may be kept. */
  patiently(waitFor: (resume: () => void) => void): Effect.Effect<void> {
    return waitIn(this.#patience, Effect.void, (resume) => waitFor(() => resume(Effect.void)))
  }

  /** An effect that waits until it is resumed with what follows, which is `late` after the deadline of one request. */
  untilDeadline<A, E>(
    late: Effect.Effect<A, E>,
    waitFor: (resume: (next: Effect.Effect<A, E>) => void) => void
  ): Effect.Effect<A, E> {
    return waitIn(this.#deadlines, late, waitFor)
  }

  // -----------------------------------------------------------------------------
  // failures in the log
  // -----------------------------------------------------------------------------

  /**
   * Logs that a circuit's request failed: once an outage where the storage did not answer, and else once a circuit, by the set
   * that `ofCircuit` gives. Of many circuits with a failure of their own one is logged a second, because a storage that cannot
   * decode one may be unable to decode a hundred thousand. A request that was interrupted, as when a scope closes, is not logged.
   */
  logFailure(
    log: Log,
    line: FailureLine,
    circuit: string,
    error: StorageError,
    ofCircuit: () => Set<FailureLine>
  ): void {
    if (isInterruption(error)) return
    const isOwn = !isUnreachable(error)
    const logged = isOwn ? ofCircuit() : this.#logged
    if (logged.has(line)) return
    logged.add(line)
    const now = this.now()
    if (isOwn && now - this.#loggedOwnAt < REQUEST_DEADLINE_MILLIS) return
    this.#loggedOwnAt = now
    log(line, { circuit, cause: error })
  }

  // -----------------------------------------------------------------------------
  // time
  // -----------------------------------------------------------------------------

  /** An interval, or a random part of one while requests fail, so that instances that fail together do not return together. */
  jitteredMillis(intervalMillis: number): number {
    return this.#failuresInARow === 0
      ? intervalMillis
      : intervalMillis * (0.5 + this.#random.nextDoubleUnsafe() / 2)
  }

  /** A random number from 0 to 1. */
  random(): number {
    return this.#random.nextDoubleUnsafe()
  }

  /** A sleep that does not keep the process alive, because no call waits for it. */
  sleep(millis: number): Effect.Effect<void> {
    return sleepInBackground(this.#clock, millis)
  }

  after(millis: number, effect: Effect.Effect<void>): void {
    this.fork(Effect.andThen(this.sleep(millis), effect))
  }

  /** Starts an effect that ends with the connection. */
  fork(effect: Effect.Effect<void>): void {
    const fiber = this.#start(effect)
    if (fiber.pollUnsafe() !== undefined) return
    this.#fibers.add(fiber)
    fiber.addObserver(() => this.#fibers.delete(fiber))
  }

  /** Interrupts the forked fibers. Fibers that must not end, such as the deadlines of running requests, go on in new ones. */
  close(): void {
    // A copy, because the set changes while they end.
    const fibers = [...this.#fibers]
    for (const fiber of fibers) fiber.interruptUnsafe()
  }
}

/** Waits until it is resumed with what follows, or until the deadline with `late`. */
const waitIn = <A, E>(
  deadlines: Deadlines,
  late: Effect.Effect<A, E>,
  waitFor: (resume: (next: Effect.Effect<A, E>) => void) => void
): Effect.Effect<A, E> =>
  Effect.callback<A, E>((resume) => {
    let isWaiting = true
    let deadline: Deadline | undefined
    const stop = (): void => {
      if (isWaiting && deadline !== undefined) deadlines.remove(deadline)
      isWaiting = false
    }
    waitFor((next) => {
      stop()
      resume(next)
    })
    // The request that it waits for is due first, so that its failure is known by then.
    if (isWaiting) {
      deadline = deadlines.add(() => {
        isWaiting = false
        resume(late)
      })
    }
    return Effect.sync(stop)
  })
