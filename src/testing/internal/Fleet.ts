/** Processes of one fleet, each on a machine of its own, behind a link of its own to the one server. */
import * as Cause from "effect/Cause"
import * as Context from "effect/Context"
import * as Effect from "effect/Effect"
import * as Exit from "effect/Exit"
import type * as Fiber from "effect/Fiber"
import * as Scope from "effect/Scope"
import * as Stream from "effect/Stream"
import * as Breaker from "../../Breaker.ts"
import type { Event } from "../../Event.ts"
import { CurrentRegistry, Registered } from "../../internal/Registered.ts"
import * as Outcome from "../../Outcome.ts"
import * as Fallback from "../../Storage/Fallback.ts"
import { type Announcement, Storage } from "../../Storage/Storage.ts"
import { type Exchange, Link, perfect, type Quality } from "./Link.ts"
import type { Mail } from "./Mail.ts"
import { Rng } from "./Random.ts"
import { type Handled, Server } from "./Server.ts"
import { Machine, World } from "./World.ts"

/** The behaviour of a call's dependency. With a `hint` it fails, or is ignored, with a `retryAfter` of so many milliseconds. */
export interface Behaviour {
  readonly ends: "succeeds" | "fails" | "isIgnored" | "dies"
  /** In milliseconds. A call that takes for ever ends when it is told to. */
  readonly takes: number
  readonly hint?: number | undefined
}

export interface Call {
  readonly process: Process
  readonly circuit: number
  behaviour: Behaviour
  /** The world's time, and the place in the order of all events. */
  readonly arrivedAt: number
  readonly arrived: number
  startedAt?: number
  /** Whether it was admitted by a breaker that counts it. */
  isRecorded?: boolean
  bodyEndedAt?: number
  endedAt?: number
  exit?: Exit.Exit<unknown, unknown>
  /** Ends a call that takes for ever. */
  end?: (ends: Behaviour["ends"]) => void
}

export interface CircuitPlan {
  readonly name: string
  readonly policy: Breaker.Data
}

export interface FleetOptions {
  readonly seed: number
  readonly circuits: ReadonlyArray<CircuitPlan>
  /**
   * Where the circuits are the keys of one keyed breaker, the share of them that it opens at most. Then their names are `breaker/key`,
   * and all have the policy of the first.
   */
  readonly neverOpenMoreThan?: number | undefined
  readonly idleTimeToLive?: number | undefined
  readonly pushes?: boolean | undefined
  /** Whether the storage has bells, so that instances are quiet. */
  readonly bells?: boolean | undefined
  /** Names of the storages, when a process falls back from each to the next. By default there is one, `simulated`. */
  readonly backends?: ReadonlyArray<string> | undefined
  /** Where messages wait to be delivered by hand. Then nothing is left to chance: each machine draws what it is told to. */
  readonly mail?: Mail | undefined
  /** The time at which the world begins, in milliseconds. */
  readonly startsAt?: number | undefined
}

/** Observes a fleet. */
export interface Watcher {
  readonly handled: (handled: Handled) => void
  readonly sent: (process: Process, exchange: Exchange) => void
  readonly ended: (
    process: Process,
    exchange: Exchange,
    exit: Exit.Exit<unknown, unknown> | undefined
  ) => void
  readonly pushed: (process: Process, announcement: Announcement) => void
  readonly reconfigured: (process: Process, circuit: number) => void
  /** A keyed breaker published an event. */
  readonly told: (process: Process, event: Event) => void
  /** A chain of storages had an event. */
  readonly chained: (process: Process, event: Fallback.ChainEvent) => void
  readonly bodyStarts: (call: Call) => void
  readonly bodyEnds: (call: Call, exit: Exit.Exit<unknown, unknown>) => void
  readonly callEnds: (call: Call, exit: Exit.Exit<unknown, unknown>) => void
}

export class Fleet {
  readonly world: World
  readonly options: FleetOptions
  readonly servers: ReadonlyArray<Server>
  readonly processes: Array<Process> = []
  readonly watchers: Array<Partial<Watcher>> = []

  constructor(options: FleetOptions) {
    this.options = options
    this.world = new World(options.startsAt)
    this.servers = (options.backends ?? ["simulated"]).map((backend) =>
      new Server(this.world, {
        backend,
        idleTimeToLive: options.idleTimeToLive ?? 60 * 60 * 1000,
        pushes: options.pushes ?? false,
        bells: options.bells ?? false,
        handled: (handled) => this.notify("handled", handled)
      })
    )
  }

  /** The first, which is the only one unless there is a chain. */
  get server(): Server {
    return this.servers[0]!
  }

  /** Starts a process with its breakers. */
  start(options: ProcessOptions = {}): Process {
    const process = new Process(this, this.processes.length, options)
    this.processes.push(process)
    return process
  }

  /** Lets so many milliseconds pass. Mail that is not held arrives at once, but for that of the last moment. */
  advance(millis: number): void {
    const { options: { mail }, world } = this
    if (mail === undefined) return world.advance(millis)
    const end = world.now + millis
    do {
      mail.deliverAll()
      world.advance(Math.min(world.nextAt, end) - world.now)
      mail.grow()
    } while (world.now < end)
  }

  notify<K extends keyof Watcher>(what: K, ...about: Parameters<Watcher[K]>): void {
    for (const watcher of this.watchers) {
      ;(watcher[what] as ((...about: Parameters<Watcher[K]>) => void) | undefined)?.(...about)
    }
  }
}

export interface ProcessOptions {
  readonly skew?: number | undefined
  readonly quality?: Quality | undefined
  /** The policies of this process, where they are not the fleet's. */
  readonly policies?: ReadonlyArray<Breaker.Data> | undefined
}

class Boom {
  readonly [Outcome.outcome]: Outcome.Outcome
  constructor(outcome: Outcome.Outcome) {
    this[Outcome.outcome] = outcome
  }
}

const endOf = ({ ends, hint }: Behaviour): Exit.Exit<void, unknown> => {
  switch (ends) {
    case "succeeds":
      return Exit.void
    case "fails":
      return Exit.fail(hint === undefined ? "boom" : new Boom(Outcome.failure({ retryAfter: hint })))
    case "isIgnored":
      return Exit.fail(new Boom(hint === undefined ? Outcome.ignored : Outcome.ignoredWith({ retryAfter: hint })))
    case "dies":
      return Exit.die("bug")
  }
}

const untilTold = (call: Call): Effect.Effect<void, unknown> =>
  Effect.callback<void, unknown>((resume) => {
    call.end = (ends) => {
      call.behaviour = { ...call.behaviour, ends }
      resume(endOf(call.behaviour))
    }
  })

export class Process {
  readonly fleet: Fleet
  readonly index: number
  readonly machine: Machine
  /** A link to each of the fleet's servers, in the order of the servers. */
  readonly links: ReadonlyArray<Link>
  /** The policies in force. */
  readonly policies: Array<Breaker.Data>
  /** All policies that were in force at some time, by circuit. */
  readonly former: ReadonlyArray<Array<Breaker.Data>>
  readonly breakers: ReadonlyArray<Breaker.Breaker<unknown>>
  readonly startedAt: number
  isStopping = false
  readonly calls = new Set<Call>()
  /** Its breakers. */
  readonly registry = new Registered()
  readonly #scope = Scope.makeUnsafe()
  readonly #context: Context.Context<Storage | Scope.Scope>

  constructor(fleet: Fleet, index: number, { policies, quality, skew = 0 }: ProcessOptions) {
    const { options: { circuits, mail, neverOpenMoreThan, seed }, servers, world } = fleet
    this.fleet = fleet
    this.index = index
    this.startedAt = world.now
    this.policies = [...policies ?? circuits.map(({ policy }) => policy)]
    this.former = this.policies.map((policy) => [policy])
    this.machine = new Machine(world, seed * 1000 + index, skew, mail !== undefined)
    this.links = servers.map((server, place) =>
      new Link(index, server, this.machine, new Rng(seed, index, ...(place === 0 ? [] : [place])), quality ?? perfect, {
        sent: (exchange) => fleet.notify("sent", this, exchange),
        ended: (exchange, exit) => fleet.notify("ended", this, exchange, exit),
        pushed: (announcement) => fleet.notify("pushed", this, announcement)
      }, mail)
    )
    this.#context = Context.make(Storage, this.#storage()).pipe(
      Context.add(Scope.Scope, this.#scope),
      // The breakers of a simulated process are none of this one's.
      Context.add(CurrentRegistry, this.registry)
    )
    this.breakers = neverOpenMoreThan === undefined
      ? circuits.map(({ name }, i) => valueOf(this.machine.fork(Breaker.make(name, this.policies[i]!), this.#context)))
      : this.#keys(neverOpenMoreThan)
  }

  /** The link to the first server. */
  get link(): Link {
    return this.links[0]!
  }

  #keys(neverOpenMoreThan: number): ReadonlyArray<Breaker.Breaker<unknown>> {
    const { fleet, machine } = this
    const keys = fleet.options.circuits.map(({ name }) => name.split("/") as [breaker: string, key: string])
    const keyed = valueOf(
      machine.fork(Breaker.makeKeyed(keys[0]![0], { ...this.policies[0]!, neverOpenMoreThan }), this.#context)
    )
    const told = (event: Event) => Effect.sync(() => fleet.notify("told", this, event))
    machine.fork(Stream.runForEach(keyed.events, told), this.#context)
    return keys.map(([, key]) => keyed.get(key))
  }

  #storage(): Storage {
    const [first, ...others] = this.links.map(({ storage }) => ({ storage }))
    if (others.length === 0) return first!.storage
    const onEvent = (event: Fallback.ChainEvent) => Effect.sync(() => this.fleet.notify("chained", this, event))
    return valueOf(
      this.machine.fork(Fallback.make([first!, ...others], { onEvent }), Context.make(Scope.Scope, this.#scope))
    )
  }

  get isAlive(): boolean {
    return !this.machine.isDead && !this.isStopping
  }

  snapshot(circuit: number): Breaker.Snapshot {
    return Effect.runSync(this.breakers[circuit]!.snapshot)
  }

  /** Makes a call. On a paused machine it begins when the machine is resumed. */
  call(circuit: number, behaviour: Behaviour): void {
    const { fleet, machine } = this
    const { world } = fleet
    machine.deliver(() => {
      const call: Call = { process: this, circuit, behaviour, arrivedAt: world.now, arrived: world.stamp() }
      const body = Effect.suspend(() => {
        call.startedAt = world.now
        fleet.notify("bodyStarts", call)
        if (behaviour.takes === Infinity) return untilTold(call)
        const end = endOf(behaviour)
        return behaviour.takes > 0 ? Effect.andThen(Effect.sleep(behaviour.takes), end) : end
      }).pipe(Effect.onExit((exit) =>
        Effect.sync(() => {
          call.bodyEndedAt = world.now
          fleet.notify("bodyEnds", call, exit)
        })
      ))
      this.calls.add(call)
      machine.fork(this.breakers[circuit]!.wrap(body), Context.empty()).addObserver((exit) => {
        call.endedAt = world.now
        call.exit = exit
        this.calls.delete(call)
        fleet.notify("callEnds", call, exit)
      })
    })
  }

  /** Ends the oldest of the calls that take for ever. On a paused machine it ends when the machine is resumed. */
  endCall(ends: Behaviour["ends"]): void {
    const call = [...this.calls].find(({ end }) => end !== undefined)
    if (call === undefined) throw new Error(`no call of process ${this.index} waits to be ended`)
    const { end } = call
    delete call.end
    this.machine.deliver(() => {
      end!(ends)
      this.fleet.world.drain()
    })
  }

  /** Makes an operator's act, through this process. */
  operate(
    circuit: number,
    act: (breaker: Breaker.Breaker<unknown>) => Effect.Effect<void, unknown>
  ): Fiber.Fiber<void, unknown> {
    return this.machine.fork(act(this.breakers[circuit]!), Context.empty())
  }

  /** Changes fields of a circuit's policy, on this process alone. */
  reconfigure(circuit: number, change: Breaker.Data): void {
    const policy = { ...this.policies[circuit]!, ...change }
    this.policies[circuit] = policy
    this.former[circuit]!.push(policy)
    const reconfigured = Effect.orDie(this.breakers[circuit]!.reconfigure(change))
    const changed = valueOf(this.machine.fork(reconfigured, Context.empty()))
    // An equal policy is no change.
    if (changed.length > 0) this.fleet.notify("reconfigured", this, circuit)
  }

  /** Shuts down in order: the scope of its breakers closes, which sends their last reports. */
  stop(): void {
    this.isStopping = true
    this.machine.deliver(() => {
      this.machine.fork(Scope.close(this.#scope, Exit.void), Context.empty())
    })
  }

  crash(): void {
    this.machine.crash()
  }
}

const valueOf = <A>(fiber: Fiber.Fiber<A, never>): A => {
  const exit = fiber.pollUnsafe()
  if (exit === undefined || !Exit.isSuccess(exit)) {
    throw new Error(`a breaker was not made: ${exit === undefined ? "it waits" : Cause.pretty(exit.cause)}`)
  }
  return exit.value
}
