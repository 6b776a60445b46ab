/**
 * Three instances of a service, in one page: the library's own breakers, each on its own connection to one storage in memory. A storage
 * that is killed refuses requests, and an instance that stands still neither calls nor is answered, as after SIGSTOP.
 */
import * as Effect from "effect/Effect"
import * as Fiber from "effect/Fiber"
import type * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import type { Event } from "../../src/Event.ts"
import { Breaker, Trip } from "../../src/index.ts"
import * as Memory from "../../src/Storage/Memory.ts"
import { Storage, StorageError } from "../../src/Storage/Storage.ts"

export const CIRCUIT = "payments"
const MOST_CALLS = 60

export interface Settings {
  /** The share of calls that the upstream fails, from 0 to 1. */
  readonly failing: number
  /** How many calls a second the upstream takes of all instances. It fails the others. */
  readonly capacity: number
  readonly latencyMillis: number
  /** Of each instance. */
  readonly callsPerSecond: number
  readonly trip: "streak" | "rate" | "total"
  /** How many calls run for each one that succeeds, where calls are shed. */
  readonly throttle: number | undefined
  readonly openForSeconds: number
  readonly evidence: "pooled" | "any"
}

/** The end of a call. */
export type Call = "succeeded" | "failed" | "rejected"

const policyOf = ({ evidence, openForSeconds, throttle, trip }: Settings) => ({
  trip: trip === "streak"
    ? Trip.consecutiveFailures(5)
    : Trip.failureRate({ threshold: trip === "rate" ? 0.5 : 0.9, within: "10 seconds", minimumCalls: 10 }),
  ...(throttle === undefined ? {} : { throttle: { k: throttle, within: "10 seconds" as const } }),
  openFor: `${openForSeconds} seconds`,
  evidence
} as const)

export class Instance {
  readonly name: string
  readonly calls: Array<Call> = []
  isPaused = false
  breaker: Breaker.Breaker<Breaker.BreakerOpenError> | undefined
  constructor(name: string) {
    this.name = name
  }
  count(call: Call): void {
    this.calls.push(call)
    if (this.calls.length > MOST_CALLS) this.calls.shift()
  }
}

export interface Told {
  readonly at: number
  readonly instance: string
  readonly text: string
}

export class World {
  readonly instances = ["A", "B", "C"].map((name) => new Instance(name))
  readonly storage = Effect.runSync(Memory.make())
  readonly told: Array<Told> = []
  isStorageDead = false
  settings: Settings
  #running: Fiber.Fiber<unknown, unknown> | undefined
  /** When the upstream has room for one more call. */
  #roomAt = 0

  constructor(settings: Settings) {
    this.settings = settings
  }

  /** Starts the instances, after those that ran with another policy have stopped. */
  start(): void {
    const before = this.#running
    const all = Effect.forEach(this.instances, (instance) => this.#run(instance), { concurrency: "unbounded" })
    this.#running = Effect.runFork(
      Effect.andThen(before === undefined ? Effect.void : Fiber.interrupt(before), Effect.scoped(all))
    )
  }

  change(settings: Settings): void {
    const before = this.settings
    this.settings = settings
    const same = (["trip", "throttle", "openForSeconds", "evidence"] as const).every((field) =>
      before[field] === settings[field]
    )
    if (!same) this.start()
  }

  #run(instance: Instance): Effect.Effect<never, never, Scope.Scope> {
    const running = Effect.gen({ self: this }, function*() {
      const breaker = yield* Breaker.make(CIRCUIT, policyOf(this.settings))
      instance.breaker = breaker
      yield* Effect.forkScoped(
        Stream.runForEach(breaker.events, (event) => Effect.sync(() => this.#tell(instance, event)))
      )
      const upstream = Effect.suspend(() => {
        const { failing, latencyMillis } = this.settings
        const succeeds = this.#hasRoom() && Math.random() >= failing
        return Effect.delay(succeeds ? Effect.void : Effect.fail("declined"), latencyMillis)
      })
      const call = Effect.match(breaker.wrap(upstream), {
        onFailure: (error) => instance.count(Breaker.isRejection(error) ? "rejected" : "failed"),
        onSuccess: () => instance.count("succeeded")
      })
      while (true) {
        yield* this.#whileItStands(instance)
        yield* Effect.forkScoped(call)
        yield* Effect.sleep(1000 / this.settings.callsPerSecond)
      }
    })
    return Effect.provideService(running, Storage, this.#connectionOf(instance)) as Effect.Effect<
      never,
      never,
      Scope.Scope
    >
  }

  /** Whether the upstream takes one more call. Calls come unevenly, so it takes some that come up to a second early. */
  #hasRoom(): boolean {
    const now = Date.now()
    const roomAt = Math.max(now, this.#roomAt)
    if (roomAt - now > 1000) return false
    this.#roomAt = roomAt + 1000 / this.settings.capacity
    return true
  }

  #whileItStands(instance: Instance): Effect.Effect<void> {
    return Effect.suspend(() => instance.isPaused ? Effect.delay(this.#whileItStands(instance), 50) : Effect.void)
  }

  #connectionOf(instance: Instance): Storage {
    const { storage } = this
    const refused = (operation: string) =>
      new StorageError({ operation, reason: "Unavailable", cause: "the storage is dead" })
    const sent = <A>(operation: string, request: Effect.Effect<A, StorageError>): Effect.Effect<A, StorageError> =>
      Effect.andThen(
        this.#whileItStands(instance),
        Effect.suspend(() => this.isStorageDead ? Effect.fail(refused(operation)) : request)
      )
    return Storage.of({
      backend: storage.backend,
      // Each instance is on a host of its own, as far as it knows.
      capabilities: { ...storage.capabilities, shared: true },
      idleTimeToLive: storage.idleTimeToLive,
      list: storage.list,
      changes: Stream.filter(storage.changes, () => !this.isStorageDead && !instance.isPaused),
      sync: (reports) => sent("sync", storage.sync(reports)),
      change: (circuit, change) => sent("change", storage.change(circuit, change)),
      probe: (circuit, probe) => sent("probe", storage.probe(circuit, probe)),
      history: (circuit, options) => sent("history", storage.history(circuit, options))
    })
  }

  #tell(instance: Instance, event: Event): void {
    if (event._tag !== "Transition" && event._tag !== "Throttling") return
    const text = event._tag === "Transition"
      ? `${event.from} → ${event.to}: ${event.reason}`
      : event.share > 0
      ? "begins to shed calls"
      : "sheds no more calls"
    this.told.unshift({ at: Date.now(), instance: instance.name, text })
    this.told.length = Math.min(this.told.length, 12)
  }
}
