/**
 * A fleet in one process: instances of one breaker on machines of their own, with a simulated network and storage between them. It
 * runs the code that production runs, on a clock of its own, so that a day of a fleet takes seconds. Equal options and equal steps
 * give equal results.
 *
 * **Example** (What an outage of ten seconds costs)
 *
 * ```ts import.meta.vitest
 * import { Simulation } from "effect-breaker/testing"
 *
 * const fleet = Simulation.make({ policy: { openFor: "5 seconds" }, instances: 4 })
 * let isDown = false
 * fleet.traffic({ perSecond: 100, behaviour: () => ({ ends: isDown ? "fails" : "succeeds", takes: "20 millis" }) })
 *
 * const before = fleet.advance("1 minute")
 * isDown = true
 * const during = fleet.advance("10 seconds")
 *
 * before.rejected // => 0
 * during.ran < during.calls / 2 // => true
 * fleet.instances.every((instance) => instance.state === "Open") // => true
 * ```
 *
 * @since 0.1.0
 */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import * as Stream from "effect/Stream"
import type * as Breaker from "../Breaker.ts"
import { isNotCalled } from "../BreakerError.ts"
import { countIn, durationIn, fieldsIn, oneOf, refuse, YEAR_MILLIS } from "../internal/Check.ts"
import type { StorageError } from "../Storage/Storage.ts"
import { checkFaults, type Faults } from "./internal/Faults.ts"
import * as Fleet from "./internal/Fleet.ts"
import type { Quality } from "./internal/Link.ts"
import { Rng } from "./internal/Random.ts"

export type { Faults } from "./internal/Faults.ts"

/**
 * A fleet to simulate.
 *
 * @category models
 * @since 0.1.0
 */
export interface Options {
  /** The policy of all instances, without `classify` and schedules: `Behaviour` says what counts. */
  readonly policy: Breaker.Data
  /** The name of the circuit. Default `simulated`. */
  readonly circuit?: string | undefined
  /** How many instances there are at the beginning, from 1 to 1,000. Default 3. */
  readonly instances?: number | undefined
  /** Decides all that is random, a whole number from 0. Default 1. */
  readonly seed?: number | undefined
}

/**
 * How the dependency behaves in one call.
 *
 * @category models
 * @since 0.1.0
 */
export interface Behaviour {
  /** `isIgnored`: it fails with an error that is `Ignored`. `dies`: with a defect. */
  readonly ends: "succeeds" | "fails" | "isIgnored" | "dies"
  /** How long it takes, at most a year. Default: no time. */
  readonly takes?: Duration.Input | undefined
  /** The hint of a failure or an ignored error when to come back, at most a year. Default: none. */
  readonly retryAfter?: Duration.Input | undefined
}

/**
 * Counts since `advance` last returned. A call that was under way then has been counted as `ran`, and its end is counted
 * by the next.
 *
 * - `calls`: made. `ran`: those that reached the dependency.
 * - `succeeded`, `failed`: by what their callers saw, a timeout among the failed ones.
 * - `rejected`: not made, by the circuit or the bulkhead.
 *
 * @category models
 * @since 0.1.0
 */
export interface Counts {
  readonly calls: number
  readonly ran: number
  readonly succeeded: number
  readonly failed: number
  readonly rejected: number
}

/**
 * A change of state that an instance published, `at` so many milliseconds after the beginning.
 *
 * @category models
 * @since 0.1.0
 */
export interface Transition {
  readonly at: number
  readonly instance: number
  readonly from: Breaker.Snapshot["state"]
  readonly to: Breaker.Snapshot["state"]
}

/**
 * An instance, alone on its machine.
 *
 * - `state`, `snapshot`: as its breaker shows them.
 * - `call`: makes a call now. A paused machine makes it when it is resumed.
 * - `set`: replaces the faults of its connection to the storage; `{}` ends them.
 * - `pause`, `resume`: nothing runs in between, and then all that was due at once.
 * - `stop`: shuts down in order, with a last report. `crash`: stops at once, without.
 * - `operate`: an operator's act, through this instance.
 *
 * @category models
 * @since 0.1.0
 */
export interface Instance {
  readonly index: number
  readonly isAlive: boolean
  readonly state: Breaker.Snapshot["state"]
  readonly snapshot: Breaker.Snapshot
  call(behaviour: Behaviour): void
  set(faults: Faults): void
  pause(): void
  resume(): void
  stop(): void
  crash(): void
  operate(act: (breaker: Breaker.Breaker<unknown>) => Effect.Effect<void, StorageError>): void
}

/**
 * Calls at random times, `perSecond` on average for the whole fleet, each by any instance that lives.
 *
 * @category models
 * @since 0.1.0
 */
export interface Traffic {
  /** From 0, which is excluded, to 100,000. */
  readonly perSecond: number
  /** Asked for each call. */
  readonly behaviour: (instance: Instance) => Behaviour
}

/**
 * A simulated fleet.
 *
 * - `now`: milliseconds since the beginning.
 * - `instances`: all that were started, also those that have stopped. `start`: adds one.
 * - `advance`: lets time pass, at most a year, and returns what was counted since it did so last. What waits for time waits for this.
 * - `traffic`: makes calls from now on, until the function that it returns is called.
 * - `transitions`: all changes of state so far, in their order.
 * - `set`: replaces the faults between all instances and the storage; `{}` ends them.
 * - `wipe`: the storage loses its data. `failover`: its replica takes over, whose data is `behind` by so long, at most a day.
 *
 * @category models
 * @since 0.1.0
 */
export interface Simulation {
  readonly now: number
  readonly instances: ReadonlyArray<Instance>
  readonly transitions: ReadonlyArray<Transition>
  start(): Instance
  advance(duration: Duration.Input): Counts
  traffic(traffic: Traffic): () => void
  set(faults: Faults): void
  wipe(): void
  failover(options: { readonly behind: Duration.Input }): void
}

/**
 * Makes a fleet, with a storage that pushes changes and has bells, as Redis does. Its messages take a millisecond.
 *
 * It throws a `RangeError` that names what makes no sense, here and in each step.
 *
 * @category constructors
 * @since 0.1.0
 */
export const make = (options: Options): Simulation => {
  const { circuit = "simulated", instances = 3, policy, seed = 1 } = options
  refuse("Simulation", [
    ...fieldsIn("", options, ["policy", "circuit", "instances", "seed"]),
    ...countIn("instances", instances, 1, 1000),
    ...countIn("seed", seed, 0, Number.MAX_SAFE_INTEGER)
  ])
  const simulation = new Simulated(circuit, policy, seed)
  for (let i = 0; i < instances; i++) simulation.start()
  return simulation
}

class Simulated implements Simulation {
  readonly instances: Array<Simulator> = []
  readonly transitions: Array<Transition> = []
  readonly #fleet: Fleet.Fleet
  readonly #rng: Rng
  #quality = qualityOf({})
  #counts = noCounts()

  constructor(circuit: string, policy: Breaker.Data, seed: number) {
    this.#fleet = new Fleet.Fleet({ seed, circuits: [{ name: circuit, policy }], pushes: true, bells: true })
    this.#rng = new Rng(seed, TRAFFIC)
    this.#fleet.watchers.push({
      bodyStarts: () => this.#count("ran"),
      callEnds: (_, exit) => this.#count(endOf(exit))
    })
  }

  get now(): number {
    return this.#fleet.world.now
  }

  start(): Instance {
    const process = this.#fleet.start({ quality: this.#quality })
    const { index } = process
    const published = Stream.runForEach(process.breakers[0]!.events, (event) =>
      Effect.sync(() => {
        if (event._tag !== "Transition") return
        this.transitions.push({ at: this.now, instance: index, from: event.from, to: event.to })
      }))
    process.machine.fork(published, Context.empty())
    const instance = new Simulator(process, () => this.#count("calls"))
    this.instances.push(instance)
    return instance
  }

  advance(duration: Duration.Input): Counts {
    refuse("Simulation.advance", durationIn("duration", duration, 0, YEAR_MILLIS))
    this.#fleet.advance(millisOf(duration))
    const counts = this.#counts
    this.#counts = noCounts()
    return counts
  }

  traffic({ behaviour, perSecond }: Traffic): () => void {
    if (!(perSecond > 0 && perSecond <= MOST_PER_SECOND)) {
      const range = `a number above 0 and at most ${MOST_PER_SECOND}`
      refuse("Simulation.traffic", [{ field: "perSecond", value: perSecond, range }])
    }
    const { world } = this.#fleet
    let isOver = false
    const arrivesNext = (): void => {
      // Independent callers: the times between their calls are distributed exponentially.
      world.after(-Math.log(1 - this.#rng.nextDoubleUnsafe()) * 1000 / perSecond, () => {
        if (isOver) return
        const alive = this.instances.filter(({ isAlive }) => isAlive)
        if (alive.length > 0) {
          const instance = this.#rng.pick(alive)
          instance.call(behaviour(instance))
        }
        arrivesNext()
      })
    }
    arrivesNext()
    return () => {
      isOver = true
    }
  }

  set(faults: Faults): void {
    checkFaults("Simulation.set", faults)
    this.#quality = qualityOf(faults)
    for (const instance of this.instances) instance.set(faults)
  }

  wipe(): void {
    this.#fleet.server.wipe()
  }

  failover({ behind }: { readonly behind: Duration.Input }): void {
    refuse("Simulation.failover", durationIn("behind", behind, 0, DAY_MILLIS))
    this.#fleet.server.failover(millisOf(behind))
  }

  #count(what: keyof Counts): void {
    this.#counts[what]++
  }
}

class Simulator implements Instance {
  readonly #process: Fleet.Process
  readonly #called: () => void

  constructor(process: Fleet.Process, called: () => void) {
    this.#process = process
    this.#called = called
  }

  get index(): number {
    return this.#process.index
  }

  get isAlive(): boolean {
    return this.#process.isAlive
  }

  get state(): Breaker.Snapshot["state"] {
    return this.snapshot.state
  }

  get snapshot(): Breaker.Snapshot {
    return this.#process.snapshot(0)
  }

  call({ ends, retryAfter, takes = 0 }: Behaviour): void {
    refuse("Simulation.call", [
      ...oneOf("ends", ends, ["succeeds", "fails", "isIgnored", "dies"]),
      ...durationIn("takes", takes, 0, YEAR_MILLIS),
      ...(retryAfter === undefined ? [] : durationIn("retryAfter", retryAfter, 0, YEAR_MILLIS))
    ])
    if (!this.isAlive) return
    this.#called()
    this.#process.call(0, {
      ends,
      takes: millisOf(takes),
      hint: retryAfter === undefined ? undefined : millisOf(retryAfter)
    })
  }

  set(faults: Faults): void {
    checkFaults("Simulation.set", faults)
    this.#process.link.quality = qualityOf(faults)
  }

  pause(): void {
    this.#process.machine.pause()
  }

  resume(): void {
    this.#process.machine.resume()
  }

  stop(): void {
    this.#process.stop()
  }

  crash(): void {
    this.#process.crash()
  }

  operate(act: (breaker: Breaker.Breaker<unknown>) => Effect.Effect<void, StorageError>): void {
    this.#process.operate(0, act)
  }
}

const noCounts = (): Record<keyof Counts, number> => ({ calls: 0, ran: 0, succeeded: 0, failed: 0, rejected: 0 })

const DAY_MILLIS = 24 * 60 * 60 * 1000

const MOST_PER_SECOND = 100_000

/** Keeps the random numbers of traffic apart from those of the fleet. */
const TRAFFIC = 0x7aff1c

const millisOf = (duration: Duration.Input): number => Duration.toMillis(Duration.fromInputUnsafe(duration))

const endOf = (exit: Exit.Exit<unknown, unknown>): "succeeded" | "failed" | "rejected" =>
  Exit.isSuccess(exit) ? "succeeded" : isNotCalled(Cause.squash(exit.cause)) ? "rejected" : "failed"

const qualityOf = ({ latency = 1, losesReplies = 0, losesRequests = 0, outage }: Faults): Quality => ({
  latency: millisOf(latency),
  jitter: 0,
  losesRequest: losesRequests,
  losesReply: losesReplies,
  doubles: 0,
  cut: outage
})
