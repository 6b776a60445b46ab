/**
 * The way back to a better storage: before it answers for a circuit again it gets what the others decided meanwhile,
 * and the reports that it has not counted. Circuits that no call uses follow in the background.
 */
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import { CIRCUITS_PER_REQUEST } from "../../internal/Bounds.ts"
import { backgroundSleep } from "../../internal/Clock.ts"
import type { Fork } from "../../internal/Fork.ts"
import { isInvalid } from "../../internal/StorageErrors.ts"
import type { NoAnswer, TimedStorage } from "../FusedStorage.ts"
import { countOf, reconcile, type Reconciled } from "../Reconcile.ts"
import type { Copies } from "./Copies.ts"
import type { ChainEvents } from "./Events.ts"
import type { Hops } from "./Hops.ts"
import { Placement } from "./Placement.ts"

/** Circuits whose pending reports are delivered at a time. */
const DELIVERIES = 16
/** Storages that circuits are brought back from at a time. */
const SOURCES = 4
/** A storage that is in use, and has missed a request, catches up after this time, and then after twice of it each, while it fails. */
const FIRST_WAIT_MILLIS = 1000
const LONGEST_WAIT_MILLIS = 30_000

export class WayBack {
  readonly placement = new Placement()
  readonly #hops: Hops
  readonly #copies: Copies
  readonly #events: ChainEvents
  readonly #fork: Fork
  /** The places that catch up, and whether each has to catch up once more. */
  readonly #catchingUp = new Map<number, boolean>()
  /** The places in use that wait to catch up. */
  readonly #waiting = new Set<number>()
  /** How long they wait, where the last time has failed. */
  readonly #waits = new Map<number, number>()

  /** `fork` runs what no call waits for. */
  constructor(hops: Hops, copies: Copies, events: ChainEvents, fork: Fork) {
    this.#hops = hops
    this.#copies = copies
    this.#events = events
    this.#fork = fork
  }

  /** The storage at a place answered for a circuit. Those before it get what it decided, though no call may come. */
  answered(circuit: string, place: number): void {
    this.placement.answered(circuit, place)
    if (this.#hops.fencesAt(place)) { for (let better = 0; better < place; better++) this.#catchUpSoon(better) }
  }

  /** A storage that is skipped catches up once it is used again. */
  #catchUpSoon(place: number): void {
    if (this.#waiting.has(place) || this.#hops.at(place).isDown) return
    this.#waiting.add(place)
    const catchUp = Effect.suspend(() => {
      this.#waiting.delete(place)
      return this.#hops.at(place).isDown ? Effect.void : this.catchUp(place)
    })
    this.#fork(Effect.andThen(backgroundSleep(this.#waits.get(place) ?? FIRST_WAIT_MILLIS), catchUp))
  }

  /**
   * Prepares the storage at a place for a request about these circuits, within half of the time left. With `counts`
   * that includes its pending reports, because it would take them for repeats after newer ones. Returns the circuits
   * that it must not answer for, because it did not take what it was to get.
   */
  prepare(
    circuits: ReadonlyArray<string>,
    place: number,
    counts: boolean,
    leftMillis: number
  ): Effect.Effect<ReadonlyMap<string, NoAnswer>> {
    const pending = counts ? this.#copies.pendingAt(place) : undefined
    const waiting = circuits.filter((circuit) => pending?.has(circuit) === true)
    const unready = new Map<string, NoAnswer>()
    if (waiting.length === 0 && this.placement.among(circuits, place).size === 0) return Effect.succeed(unready)
    const better = this.#hops.within(place, leftMillis, (circuit, noAnswer) => unready.set(circuit, noAnswer))
    const delivered = Effect.suspend(() =>
      this.#deliver(waiting.filter((circuit) => !unready.has(circuit)), place, better)
    )
    return Effect.andThen(this.#bringBack(circuits, place, better), delivered).pipe(
      Effect.timeoutOption(Duration.millis(leftMillis / 2)),
      Effect.as(unready)
    )
  }

  /** Brings back all circuits, and delivers all reports, to a storage that answers again. */
  catchUp(place: number): Effect.Effect<void> {
    return Effect.suspend(() => {
      const isUnderWay = this.#catchingUp.has(place)
      this.#catchingUp.set(place, isUnderWay)
      return isUnderWay ? Effect.void : this.#catchUpUntilDone(place)
    })
  }

  /** Once more where the storage showed again that it answers, because it may have refused a part before. */
  #catchUpUntilDone(place: number): Effect.Effect<void> {
    return Effect.ensuring(
      Effect.repeat(
        Effect.suspend(() => {
          this.#catchingUp.set(place, false)
          return this.#catchUp(place)
        }),
        { while: () => this.#catchingUp.get(place) === true }
      ),
      Effect.sync(() => this.#catchingUp.delete(place))
    )
  }

  #catchUp(place: number): Effect.Effect<void> {
    return Effect.gen({ self: this }, function*() {
      const storage = this.#hops.at(place)
      const better = storage.within(this.#hops.budgetMillis)
      const circuits = this.placement.behind(place)
      const all: Array<Reconciled> = []
      for (let i = 0; i < circuits.length; i += CIRCUITS_PER_REQUEST) {
        all.push(...(yield* this.#bringBack(circuits.slice(i, i + CIRCUITS_PER_REQUEST), place, better)))
        if (storage.areWritesDown) return
      }
      if (countOf(all, "forward") + countOf(all, "back") > 0) {
        this.#events.reconciled(this.#hops.names, this.#hops.nameAt(place), all)
      }
      const wait = this.#waits.get(place) ?? FIRST_WAIT_MILLIS
      this.#waits.delete(place)
      if (all.some(({ result }) => Result.isFailure(result) && !isInvalid(result.failure))) {
        this.#waits.set(place, Math.min(LONGEST_WAIT_MILLIS, 2 * wait))
        this.#catchUpSoon(place)
      }
      // A follower retries its pending reports by itself.
      if (place === 0) yield* this.#deliver(this.#copies.pendingAt(0)!.circuits, 0, better)
    })
  }

  #deliver(circuits: ReadonlyArray<string>, place: number, better: TimedStorage): Effect.Effect<void> {
    const pending = this.#copies.pendingAt(place)
    return Effect.forEach(
      circuits,
      (circuit) => pending === undefined ? Effect.void : Effect.ignore(pending.deliver(circuit, better)),
      { concurrency: DELIVERIES, discard: true }
    )
  }

  /** Reconciles circuits with the storages behind that answered for them. A circuit that fails stays where it is. */
  #bringBack(
    circuits: ReadonlyArray<string>,
    place: number,
    better: TimedStorage
  ): Effect.Effect<ReadonlyArray<Reconciled>> {
    const groups = [...this.placement.among(circuits, place)].map(([from, names]) =>
      this.#reconcile(from, place, names, better).pipe(
        Effect.tap((all) =>
          Effect.sync(() => {
            for (const { circuit, result } of all) {
              if (Result.isSuccess(result)) this.placement.broughtBack(circuit, from, place)
            }
          })
        ),
        Effect.catch((error) =>
          Effect.succeed(names.map((circuit): Reconciled => ({ circuit, result: Result.fail(error) })))
        )
      )
    )
    return Effect.map(Effect.all(groups, { concurrency: SOURCES }), (all) => all.flat())
  }

  #reconcile(from: number, place: number, circuits: ReadonlyArray<string>, better: TimedStorage) {
    const hops = this.#hops
    return hops.fencesAt(from) && hops.fencesAt(place)
      ? reconcile(hops.at(from).within(hops.deadlineAt(from, hops.budgetMillis) / 2), better, circuits, "to")
      : Effect.succeed(circuits.map((circuit): Reconciled => ({ circuit, result: Result.succeed("forgotten") })))
  }
}
