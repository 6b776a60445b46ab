/**
 * A layer around any storage that makes it fail on demand: slow, losing requests or replies, away, or without its data. So a test
 * shows how a policy bears it.
 *
 * **Example** (Calls go on while the storage is away)
 *
 * ```ts import.meta.vitest
 * import { Effect, Layer } from "effect"
 * import { Breaker, Storage } from "effect-breaker"
 * import { FaultyStorage } from "effect-breaker/testing"
 *
 * class Payments extends Breaker.Service<Payments>()("payments", { consistency: "strict" }) {}
 *
 * const program = Effect.gen(function*() {
 *   yield* FaultyStorage.set({ outage: "refused" })
 *   return yield* Payments.wrap(Effect.succeed("charged"))
 * }).pipe(Effect.provide(Layer.provideMerge(Payments.layer, FaultyStorage.layer(Storage.MemoryStorageLive))))
 *
 * await Effect.runPromise(program) // => "charged"
 * ```
 *
 * @since 0.1.0
 */
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Layer from "effect/Layer"
import * as Random from "effect/Random"
import * as Stream from "effect/Stream"
import { type Announcement, type Bells, Storage, StorageError } from "../Storage/Storage.ts"
import { checkFaults, type Faults } from "./internal/Faults.ts"

export type { Faults } from "./internal/Faults.ts"

/**
 * Counts of the requests to a storage: those that were sent, and those that were answered.
 *
 * @category models
 * @since 0.1.0
 */
export interface Requests {
  readonly sent: number
  readonly answered: number
}

/**
 * The control of a faulty storage.
 *
 * - `set`: replaces all faults from now on; `{}` ends them. It throws a `RangeError` that names what makes no sense. A request that is
 *   not answered stays so.
 * - `wipe`: loses all circuits, as a storage does that is restarted without its data.
 * - `requests`: counts since the layer was built.
 *
 * @category services
 * @since 0.1.0
 */
export class FaultyStorage extends Context.Service<FaultyStorage, {
  readonly set: (faults: Faults) => Effect.Effect<void>
  readonly wipe: Effect.Effect<void>
  readonly requests: Effect.Effect<Requests>
}>()("effect-breaker/testing/FaultyStorage") {}

/**
 * Replaces the faults of the storage from now on; `{}` ends them.
 *
 * @category combinators
 * @since 0.1.0
 */
export const set = (faults: Faults): Effect.Effect<void, never, FaultyStorage> =>
  FaultyStorage.use((storage) => storage.set(faults))

/**
 * Loses all circuits.
 *
 * @category combinators
 * @since 0.1.0
 */
export const wipe: Effect.Effect<void, never, FaultyStorage> = FaultyStorage.use((storage) => storage.wipe)

/**
 * How many requests were sent to the storage, and how many were answered.
 *
 * @category combinators
 * @since 0.1.0
 */
export const requests: Effect.Effect<Requests, never, FaultyStorage> = FaultyStorage.use((storage) => storage.requests)

/**
 * Puts faults around the storage of a layer, from the beginning those that are given. All who share the layer share its faults: for
 * instances with a connection each, give each a layer of its own around one storage.
 *
 * It throws a `RangeError` where a fault makes no sense.
 *
 * **Gotchas**
 *
 * - Breakers wait for answers by the clock: under `TestClock` a call that waits for a silent storage goes on once the clock has moved.
 * - After `wipe` the layer uses other names of circuits within its storage, and shows none of the former: a real database keeps their
 *   rows, and others on it still see them.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = <E, R>(
  storage: Layer.Layer<Storage, E, R>,
  faults: Faults = {}
): Layer.Layer<Storage | FaultyStorage, E, R> => {
  checkFaults("FaultyStorage", faults)
  const made = Effect.gen(function*() {
    const line = new Line(yield* Storage, yield* Random.Random, faults)
    const control = FaultyStorage.of({
      set: (faults) => Effect.sync(() => line.set(faults)),
      wipe: Effect.sync(() => line.wipe()),
      requests: Effect.sync(() => ({ ...line.requests }))
    })
    return Context.make(Storage, line.storage).pipe(Context.add(FaultyStorage, control))
  })
  return Layer.provide(Layer.effectContext(made), storage)
}

/** The line to a storage. */
class Line {
  readonly storage: Storage
  readonly requests = { sent: 0, answered: 0 }
  readonly #random: Random.Random
  #faults: Faults
  /** How often the data was lost. Since then, circuits have other names in the storage. */
  #era = 0

  constructor(to: Storage, random: Random.Random, faults: Faults) {
    this.#random = random
    this.#faults = faults
    this.storage = {
      ...to,
      sync: (reports) =>
        this.#send("sync", () =>
          Effect.map(
            to.sync(reports.map((report) => ({ ...report, circuit: this.#inside(report.circuit) }))),
            (synced) => synced.map((one, i) => ({ ...one, circuit: reports[i]!.circuit }))
          )),
      change: (circuit, change) => this.#send("change", () => to.change(this.#inside(circuit), change)),
      probe: (circuit, probe) => this.#send("probe", () => to.probe(this.#inside(circuit), probe)),
      history: (circuit, options) => this.#send("history", () => to.history(this.#inside(circuit), options)),
      list: Stream.unwrap(this.#send("list", () =>
        Effect.succeed(
          Stream.filter(Stream.map(to.list, (circuit) => this.#outside(circuit)), (name) => name !== undefined)
        ))),
      changes: Stream.filter(
        Stream.map(to.changes, (announcement) => this.#announced(announcement)),
        (announcement) => announcement !== undefined
      ),
      ...(to.bells === undefined ? {} : {
        bells: (since) => this.#send("bells", () => Effect.map(to.bells!(since), (bells) => this.#bells(bells)))
      })
    }
  }

  set(faults: Faults): void {
    checkFaults("FaultyStorage", faults)
    this.#faults = faults
  }

  wipe(): void {
    this.#era++
  }

  #send<A>(operation: string, request: () => Effect.Effect<A, StorageError>): Effect.Effect<A, StorageError> {
    return Effect.suspend(() => {
      const { latency, losesReplies, losesRequests, outage } = this.#faults
      this.requests.sent++
      if (outage === "refused") {
        return Effect.fail(new StorageError({ operation, reason: "Unavailable", cause: "refused" }))
      }
      if (outage === "silent" || this.#chance(losesRequests)) return Effect.never
      const arrived = latency === undefined ? Effect.suspend(request) : Effect.delay(Effect.suspend(request), latency)
      return this.#chance(losesReplies)
        ? Effect.andThen(arrived, Effect.never)
        : Effect.onExit(arrived, (exit) => Effect.sync(() => Exit.hasInterrupts(exit) || this.requests.answered++))
    })
  }

  #chance(share = 0): boolean {
    return share > 0 && this.#random.nextDoubleUnsafe() < share
  }

  #inside(circuit: string): string {
    return this.#era === 0 ? circuit : `${circuit}${WIPED}${this.#era}`
  }

  /** The name of a circuit that the storage knows by another one; `undefined` where its data was lost. */
  #outside(circuit: string): string | undefined {
    const [name, era = "0"] = circuit.split(WIPED)
    return Number(era) === this.#era ? name : undefined
  }

  #announced(announcement: Announcement): Announcement | undefined {
    const { losesReplies, outage } = this.#faults
    if (announcement._tag === "Subscribed") return announcement
    const circuit = outage === undefined && !this.#chance(losesReplies)
      ? this.#outside(announcement.circuit)
      : undefined
    return circuit === undefined ? undefined : { ...announcement, circuit }
  }

  #bells(bells: Bells): Bells {
    const { epoch, rung } = bells
    return {
      ...bells,
      epoch: `${epoch}${WIPED}${this.#era}`,
      rung: rung === "all" ? rung : rung.flatMap((one) => {
        const circuit = this.#outside(one.circuit)
        return circuit === undefined ? [] : [{ ...one, circuit }]
      })
    }
  }
}

/** Ends the name of a circuit whose data was lost, before the number of that loss. */
const WIPED = "~wiped~"
