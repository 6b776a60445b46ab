/**
 * When reports are sent: one round an interval for all circuits that were called or are not closed, in batches; failures
 * sooner; a read that a call waits for at once. A round costs the same whatever the call rate.
 *
 * **Invariants**
 *
 * - A circuit has at most one report in flight. While it has, `isSending` is true and rounds pass it over.
 * - With no circuit scheduled, no timer is armed.
 * - `#hurried` holds the circuits that must not wait for the interval, and when each is due. A timer is armed for the earliest.
 */
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import type { LocalMillis } from "../../core/Time.ts"
import type { CircuitReport, StorageError, Synced } from "../../Storage/Storage.ts"
import { CIRCUITS_PER_REQUEST, FAILURE_DELAY_MILLIS } from "../Bounds.ts"
import { failure } from "../StorageErrors.ts"
import type { Connection } from "./Connection.ts"
import { MOST_SLOWDOWN } from "./Pace.ts"

/**
 * When circuits are asked for their reports.
 *
 * - `round`: in the round of an interval. `slow round`: in one in which the storage is slow, so that circuits wait that can.
 * - `hurried`: beside the rounds, because a failure or an alert must not wait for one.
 * - `last`: before the breaker ends, which leaves nothing unreported.
 */
export type Turn = "round" | "slow round" | "hurried" | "last"

/** A circuit that takes part in rounds. */
export interface Participant {
  readonly isSending: boolean
  /** Whether it learns of changes by polls of the bell. */
  readonly hears: boolean
  /** Its report, which is in flight from here on. */
  readonly beginReport: () => CircuitReport
  /** The same; `undefined` where it has nothing to report and nothing to learn, or can wait for a later round. */
  readonly nextReport: (turn: Turn) => CircuitReport | undefined
  readonly answered: (answer: Synced["result"]) => void
}

/** The most requests of one round that are in flight at once. */
const CONCURRENCY = 8

/** Sends reports of several circuits in one request. */
export class Batches {
  readonly #connection: Connection
  /** Circuits whose reports are awaited and not sent yet. */
  readonly #awaited = new Set<Participant>()
  #isSendingAwaited = false

  constructor(connection: Connection) {
    this.#connection = connection
  }

  /** Sends a circuit's report as soon as possible. Circuits that come while such a request is in flight share the next one. */
  sendNow(participant: Participant): void {
    this.#awaited.add(participant)
    this.#sendAwaited()
  }

  forget(participant: Participant): void {
    this.#awaited.delete(participant)
  }

  #sendAwaited(): void {
    if (this.#isSendingAwaited) return
    const batch = [...this.#awaited].filter(({ isSending }) => !isSending).slice(0, CIRCUITS_PER_REQUEST)
    if (batch.length === 0) return
    for (const participant of batch) this.#awaited.delete(participant)
    this.#isSendingAwaited = true
    this.#send(batch.map((participant) => [participant, participant.beginReport()]), () => {
      this.#isSendingAwaited = false
    })
  }

  #send(batch: ReadonlyArray<readonly [Participant, CircuitReport]>, ended: () => void): void {
    const { storage } = this.#connection
    const reports = batch.map(([, report]) => report)
    const circuit = reports.length === 1 ? reports[0]!.circuit : undefined
    this.#connection.send({ operation: "sync", circuit }, () => storage.sync(reports), (result) => {
      for (const [i, [participant, report]] of batch.entries()) {
        participant.answered(answerTo(result, i, report.circuit))
      }
      ended()
      this.#sendAwaited()
    })
  }

  /** Reports of these circuits. While the storage is away, one request finds out for all. */
  send(participants: ReadonlyArray<Participant>, turn: Turn): Effect.Effect<void> {
    const batches = Array.from(
      { length: Math.ceil(participants.length / CIRCUITS_PER_REQUEST) },
      (_, i) => participants.slice(i * CIRCUITS_PER_REQUEST, (i + 1) * CIRCUITS_PER_REQUEST)
    )
    return Effect.forEach(batches, (batch, i) =>
      Effect.andThen(
        Effect.yieldNow,
        Effect.callback<void>((resume) => {
          const done = (): void => resume(Effect.void)
          if (this.#connection.isAway && i > 0) return done()
          const reports = batch.flatMap((participant) => {
            const report = participant.nextReport(turn)
            return report === undefined ? [] : [[participant, report] as const]
          })
          if (reports.length === 0) return done()
          this.#send(reports, done)
        })
      ), { concurrency: CONCURRENCY, discard: true })
  }
}

/** The storage's answer about one circuit of a batch. A storage may answer anything, so its shape is checked. */
const answerTo = (
  result: Result.Result<ReadonlyArray<Synced>, StorageError>,
  i: number,
  circuit: string
): Synced["result"] => {
  if (Result.isFailure(result)) return Result.fail(result.failure)
  const answer: Synced | undefined = Array.isArray(result.success) ? result.success[i] : undefined
  return answer?.circuit === circuit && Result.isResult(answer.result)
    ? answer.result
    : Result.fail(failure({ operation: "sync", circuit }, "Invalid", "the storage did not answer for the circuit"))
}

/** The rounds in which healthy circuits report that are silent for equally long: all of a process together. */
interface Lazy {
  number: number
  nextAt: LocalMillis
}

/** The rounds of all circuits that share an interval. */
export class Rounds {
  readonly intervalMillis: number
  /** The circuits of the next round. */
  readonly scheduled = new Set<Participant>()
  readonly #batches: Batches
  readonly #connection: Connection
  readonly #hurried = new Map<Participant, LocalMillis>()
  /** When the timer for hurried circuits fires; `Infinity` without one. */
  #hurriedAt: LocalMillis = Infinity
  readonly #lazies = new Map<number, Lazy>()
  /** When circuits report again that can wait because the storage is slow. */
  #fullRoundAt: LocalMillis = -Infinity
  #isArmed = false

  constructor(connection: Connection, batches: Batches, intervalMillis: number) {
    this.#connection = connection
    this.#batches = batches
    this.intervalMillis = intervalMillis
  }

  /** How long it is between two reports of a circuit: longer while the storage is slow. */
  get pacedMillis(): number {
    return this.intervalMillis * this.#connection.pace.slowdown(this.intervalMillis)
  }

  add(participant: Participant): void {
    this.scheduled.add(participant)
    this.#arm()
  }

  remove(participant: Participant): void {
    this.scheduled.delete(participant)
    this.#hurried.delete(participant)
    this.#batches.forget(participant)
  }

  /** Hands those over that `isMoving` names, because their interval has changed. A request that is in flight stays in flight. */
  handOver(to: Rounds, isMoving: (participant: Participant) => boolean): void {
    for (const participant of this.scheduled) {
      if (!isMoving(participant)) continue
      const dueAt = this.#hurried.get(participant)
      this.scheduled.delete(participant)
      this.#hurried.delete(participant)
      if (dueAt === undefined) to.add(participant)
      else to.hurry(participant, dueAt)
    }
  }

  /** A round has its report, which need not be made beside the rounds any more. One that leaves the round out makes it all the same. */
  served(participant: Participant): void {
    this.#hurried.delete(participant)
  }

  isHurried(participant: Participant): boolean {
    return this.#hurried.has(participant)
  }

  /** Adds a round for a circuit that must not wait for the interval. Circuits that are due within `FAILURE_DELAY_MILLIS` share one. */
  hurry(participant: Participant, dueAt: LocalMillis): void {
    this.add(participant)
    // A request that is due sooner is not put off: a report of a failure, for example, by an alert.
    this.#hurried.set(participant, Math.min(dueAt, this.#hurried.get(participant) ?? Infinity))
    this.#armFor(dueAt)
  }

  /** Changes may have been missed. Processes poll the bell at different times, so they do not look at the same time. */
  look(): void {
    for (const participant of this.scheduled) if (participant.hears) this.hurry(participant, this.#connection.now())
  }

  #armFor(dueAt: LocalMillis): void {
    if (dueAt >= this.#hurriedAt) return
    this.#hurriedAt = dueAt
    this.#connection.after(Math.max(0, dueAt - this.#connection.now()), this.#sendHurried)
  }

  readonly #sendHurried: Effect.Effect<void> = Effect.suspend(() => {
    const soon = this.#connection.now() + FAILURE_DELAY_MILLIS
    const due: Array<Participant> = []
    let nextAt = Infinity
    for (const [participant, dueAt] of this.#hurried) {
      if (dueAt <= soon) due.push(participant)
      else nextAt = Math.min(nextAt, dueAt)
    }
    for (const participant of due) this.#hurried.delete(participant)
    this.#hurriedAt = Infinity
    this.#armFor(nextAt)
    return this.#batches.send(due, "hurried")
  })

  /** The number of the last lazy round of circuits that are silent for so long. */
  lazyRound(lazyMillis: number): number {
    let lazy = this.#lazies.get(lazyMillis)
    if (lazy === undefined) {
      lazy = { number: 0, nextAt: this.#connection.now() + lazyMillis * this.#connection.random() }
      this.#lazies.set(lazyMillis, lazy)
    }
    return lazy.number
  }

  #beginLazyRounds(): void {
    const now = this.#connection.now()
    for (const [lazyMillis, lazy] of this.#lazies) {
      if (now < lazy.nextAt) continue
      lazy.number++
      // At random, so that the processes of a fleet do not report together.
      lazy.nextAt = now + lazyMillis * (0.75 + this.#connection.random() / 2)
    }
  }

  /** Whether circuits are to wait for a later round, so that a slow storage gets fewer reports. The bell is polled all the same. */
  #isSlow(): boolean {
    const now = this.#connection.now()
    const { intervalMillis, pacedMillis } = this
    if (pacedMillis === intervalMillis) return false
    if (now < this.#fullRoundAt) return true
    // At random, because the processes of a fleet see the storage slow at one time. Rounds are an interval apart, or a little more
    // where a timer is late: the last one that is left out is followed by one that is not.
    const nextMillis = pacedMillis * (0.75 + this.#connection.random() / 2) - intervalMillis / 2
    this.#fullRoundAt = now + Math.min(nextMillis, (MOST_SLOWDOWN - 0.9) * intervalMillis)
    return false
  }

  #arm(): void {
    if (this.#isArmed || this.scheduled.size === 0) return
    this.#isArmed = true
    this.#connection.after(this.#connection.jitteredMillis(this.intervalMillis), this.#tick)
  }

  // Armed again before the round, because a request that hangs may hold the round up.
  readonly #tick: Effect.Effect<void> = Effect.suspend(() => {
    this.#isArmed = false
    this.#arm()
    const participants = [...this.scheduled]
    this.#beginLazyRounds()
    if (participants.some(({ hears }) => hears)) this.#connection.bell?.tick(this.intervalMillis)
    return this.#batches.send(participants, this.#isSlow() ? "slow round" : "round")
  })
}
