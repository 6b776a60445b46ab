/** The stage of a scenario: a simulated fleet that performs commands and keeps a trace of their effects. */
import { Effect, type Exit, Schema, Stream } from "effect"
import { isEmpty } from "../../src/core/Delta.ts"
import { Breaker } from "../../src/index.ts"
import { type Behaviour, type Call, Fleet, type Process } from "../../src/testing/internal/Fleet.ts"
import { type Exchange, perfect } from "../../src/testing/internal/Link.ts"
import { Mail } from "../../src/testing/internal/Mail.ts"
import { Invariants } from "../sim/invariants.ts"
import { Command, millisOf } from "./command.ts"
import { chainInWords, eventInWords, inWords, rejectionInWords, Words } from "./trace.ts"

const CIRCUIT = "payments"

interface Entry {
  readonly at: number
  readonly who: string
  readonly what: string
  times: number
  last: number
}

const ENDS: Readonly<Record<string, Behaviour["ends"]>> = {
  succeed: "succeeds",
  fail: "fails",
  ignore: "isIgnored",
  die: "dies"
}

/** How long a fleet rests until everything is reported and everybody knows what is stored. */
const REST_SECONDS = 12

const MODES: Readonly<Record<string, Breaker.OverrideMode>> = {
  forcedOpen: "ForcedOpen",
  disabled: "Disabled",
  metricsOnly: "MetricsOnly"
}

export interface StageOptions {
  /** Whether it keeps no trace. */
  readonly isSilent?: boolean | undefined
  /** The time at which the world begins, in milliseconds. */
  readonly startsAt?: number | undefined
}

export class Stage {
  #fleet: Fleet | undefined = undefined
  #policy: Breaker.Data = {}
  #invariants: Invariants | undefined = undefined
  readonly #names: Array<string> = []
  readonly #words = new Words()
  #entries: Array<Entry> = []
  /** The last read of each process from each storage. A read is printed only if it differs from the last one. */
  readonly #read = new Map<string, string>()
  /** Names of the processes by their instances' random ids, which the requests carry. */
  readonly #instances = new Map<string, string>()
  readonly #options: StageOptions

  constructor(options: StageOptions = {}) {
    this.#options = options
  }

  /** The invariants of the protocol that are broken. */
  get broken(): ReadonlyArray<string> {
    return this.#invariants?.broken ?? []
  }

  /** The trace since it was last taken. */
  take(): ReadonlyArray<string> {
    const trace = this.tell()
    if (this.broken.length > 0) throw new Error(`an invariant of the protocol is broken: ${this.broken.join("; ")}`)
    return trace
  }

  /** The same, whatever is broken. */
  tell(): ReadonlyArray<string> {
    const entries = this.#entries
    this.#entries = []
    return entries.map(({ at, last, times, what, who }) => {
      const repeated = times === 1 ? "" : last === at ? ` (x${times})` : ` (x${times}, until ${seconds(last)})`
      return `${seconds(at).padStart(8)} ${who.padEnd(this.#width)} ${what}${repeated}`
    })
  }

  perform(line: string): void {
    const command = new Command(line)
    const act = this.#commands[command.name]
    if (act === undefined) throw new Error(`no command is called "${command.name}"`)
    act(command)
    command.end()
    // Fibers that a message or a call woke run before the next command, as they do before the next event of a real process.
    this.fleet.world.drain()
    this.#invariants?.afterStep()
  }

  get #width(): number {
    return Math.max(...this.#names.map((name) => name.length), this.#isChain ? "secondary".length : "storage".length)
  }

  get #isChain(): boolean {
    return (this.#fleet?.servers.length ?? 1) > 1
  }

  get names(): ReadonlyArray<string> {
    return this.#names
  }

  get invariants(): Invariants | undefined {
    return this.#invariants
  }

  get fleet(): Fleet {
    if (this.#fleet === undefined) throw new Error("a scenario begins with the command fleet")
    return this.#fleet
  }

  readonly #commands: Readonly<Record<string, (command: Command) => void>> = {
    fleet: (command) => this.#start(command),
    start: (command) => this.#process(command.word(), { ...this.#policy, ...policyOf(command) }),
    call: (command) => this.#call(command),
    draw: (command) => {
      this.#named(command.word()).machine.draw = Number(command.word())
    },
    end: (command) => this.#named(command.word()).endCall(endOf(command)),
    deliver: (command) => this.#mail.deliver(command.integer()),
    lose: (command) => this.#mail.lose(command.integer()),
    double: (command) => this.#mail.double(command.integer()),
    hold: (command) => this.#mail.hold(command.integer()),
    rest: () => this.#rest(),
    advance: (command) => this.fleet.advance(millisOf(command.word())),
    cut: (command) => {
      const process = this.#named(command.word())
      const cut = command.has("refused") ? "refused" : "silent"
      for (const link of this.#linksOf(process, command.option("from"))) {
        link.hurtAt = this.fleet.world.now
        link.quality = { ...link.quality, cut }
      }
    },
    link: (command) => {
      const process = this.#named(command.word())
      const latency = command.millis("latency") ?? perfect.latency
      const lose = command.option("lose")
      const doubles = command.has("double") ? 1 : 0
      for (const link of process.links) {
        link.hurtAt = this.fleet.world.now
        link.quality = {
          ...perfect,
          latency,
          doubles,
          losesRequest: lose === "request" ? 1 : 0,
          losesReply: lose === "reply" ? 1 : 0
        }
      }
    },
    heal: (command) => {
      for (const link of this.#named(command.word()).links) link.quality = perfect
    },
    pause: (command) => this.#named(command.word()).machine.pause(),
    resume: (command) => this.#named(command.word()).machine.resume(),
    crash: (command) => this.#named(command.word()).crash(),
    stop: (command) => this.#named(command.word()).stop(),
    wipe: () => {
      this.#invariants?.upset()
      this.fleet.server.wipe()
    },
    failover: (command) => {
      this.#invariants?.upset()
      const [behind] = command.words()
      if (behind === undefined) this.fleet.server.failoverBeforeLast()
      else this.fleet.server.failover(millisOf(behind))
    },
    clock: (command) => {
      const by = millisOf(command.word())
      this.#invariants?.upset(by)
      this.fleet.server.stepClock(by)
    },
    override: (command) => {
      const process = this.#named(command.word())
      const mode = MODES[command.word()]
      if (mode === undefined) throw new Error(`an override is one of ${Object.keys(MODES).join(", ")}`)
      const expiresIn = command.millis("for")
      const override = {
        mode,
        reason: command.option("reason") ?? "incident",
        actor: command.option("by") ?? "ops",
        ...(expiresIn === undefined ? {} : { expiresIn })
      }
      this.#operate(process, (breaker) => breaker.override(override))
    },
    clear: (command) => {
      const process = this.#named(command.word())
      const actor = command.option("by") ?? "ops"
      this.#operate(process, (breaker) => breaker.clearOverride({ actor }))
    },
    reset: (command) => this.#operate(this.#named(command.word()), (breaker) => breaker.reset),
    reconfigure: (command) => this.#named(command.word()).reconfigure(0, policyOf(command)),
    halfOpen: (command) => this.#operate(this.#named(command.word()), (breaker) => breaker.forceHalfOpen),
    show: () => this.#show()
  }

  #start(command: Command): void {
    if (this.#fleet !== undefined) throw new Error("there is a fleet already")
    const names = command.words()
    this.#policy = policyOf(command)
    const idle = command.millis("idle")
    const keys = command.number("keys")
    const backends = command.option("storages")?.split(",")
    const fleet = new Fleet({
      seed: 1,
      circuits: Array.from({ length: keys ?? 1 }, (_, key) => ({
        name: keys === undefined ? CIRCUIT : `${CIRCUIT}/${key + 1}`,
        policy: this.#policy
      })),
      neverOpenMoreThan: command.number("neverOpenMoreThan"),
      pushes: command.option("pushes") === "yes",
      bells: command.option("bells") === "yes",
      idleTimeToLive: idle,
      backends,
      mail: command.option("messages") === "byHand" ? new Mail() : undefined,
      startsAt: this.#options.startsAt
    })
    this.#fleet = fleet
    // `Invariants` checks a fleet on one server whose calls fail with no `StorageError`.
    if (backends === undefined && this.#policy.onStorageError !== "fail") this.#invariants = new Invariants(fleet)
    if (this.#options.isSilent !== true) this.#watch(fleet)
    for (const name of names) this.#process(name, this.#policy)
  }

  #process(name: string, policy: Breaker.Data): void {
    this.#names.push(name)
    const process = this.fleet.start({ policies: this.fleet.options.circuits.map(() => policy) })
    if (this.#options.isSilent === true) return
    for (const [circuit, breaker] of process.breakers.entries()) {
      const events = Stream.runForEach(breaker.events, (event) =>
        Effect.sync(() => {
          const told = eventInWords(event, process.snapshot(circuit))
          if (told !== undefined) this.#tell(name, this.#keyed(circuit, told))
        }))
      process.operate(circuit, () => events)
    }
  }

  #named(name: string): Process {
    const process = this.fleet.processes[this.#names.indexOf(name)]
    if (process === undefined) throw new Error(`no process is called "${name}"`)
    return process
  }

  #nameOf(process: Process): string {
    return this.#names[process.index]!
  }

  #linksOf(process: Process, backend: string | undefined) {
    const links = process.links.filter(({ storage }) => backend === undefined || storage.backend === backend)
    if (links.length === 0) throw new Error(`no storage is called "${backend}"`)
    return links
  }

  #call(command: Command): void {
    const process = this.#named(command.word())
    const behaviour: Behaviour = command.has("wait")
      ? { ends: "succeeds", takes: Infinity }
      : { ends: endOf(command), takes: command.millis("takes") ?? 0, hint: command.millis("hint") }
    const [times, every] = [command.times(), command.millis("every") ?? 0]
    const circuit = (command.number("key") ?? 1) - 1
    for (let i = 0; i < times; i++) {
      if (every === 0) process.call(circuit, behaviour)
      else this.fleet.world.after(i * every, () => process.isAlive && process.call(circuit, behaviour))
    }
  }

  get #mail(): Mail {
    const { mail } = this.fleet.options
    if (mail === undefined) throw new Error("the messages of this fleet arrive by themselves")
    return mail
  }

  /** Heals everything, ends all calls, and lets time pass until the fleet is at rest, which is then checked. */
  #rest(): void {
    const { fleet } = this
    fleet.options.mail?.release()
    for (const process of fleet.processes) {
      for (const link of process.links) link.quality = perfect
      process.machine.resume()
      for (const { end } of process.calls) if (end !== undefined) process.endCall("succeeds")
    }
    for (let i = 0; i < REST_SECONDS; i++) {
      fleet.advance(1000)
      this.#invariants?.afterStep()
    }
    this.#invariants?.atRest(fleet.server.losses === 0 && fleet.processes.every(({ isAlive }) => isAlive))
  }

  #operate(process: Process, act: (breaker: Breaker.Breaker<unknown>) => Effect.Effect<void, unknown>): void {
    process.operate(0, act).addObserver((exit) => {
      if (exit._tag === "Failure") this.#tell(this.#nameOf(process), `the operator is told: ${reasonOf(exit)}`)
    })
  }

  // -----------------------------------------------------------------------------
  // the trace
  // -----------------------------------------------------------------------------

  #tell(who: string, what: string): void {
    const { now } = this.fleet.world
    const last = this.#entries.at(-1)
    if (last?.who === who && last.what === what) {
      last.times++
      last.last = now
    } else this.#entries.push({ at: now, last: now, who, what, times: 1 })
  }

  /** What is told of a circuit, with its key where there are several. */
  #keyed(circuit: number, told: string): string {
    return this.fleet.options.circuits.length === 1 ? told : `${circuit + 1}: ${told}`
  }

  #watch(fleet: Fleet): void {
    const to = ({ to }: Exchange) => this.#isChain ? ` ${to}` : ""
    fleet.watchers.push({
      sent: (process, exchange) => {
        this.#learn(process, exchange)
        if (isRead(exchange) || exchange.kind === "bells") return
        const request = this.#words.request(exchange, (instance) => this.#instances.get(instance) ?? "another")
        this.#tell(this.#nameOf(process), `->${to(exchange)} ${request}`)
      },
      ended: (process, exchange, exit) => {
        const who = this.#nameOf(process)
        const { now } = fleet.world
        const known = `${who} ${exchange.to}`
        if (exchange.kind === "bells") {
          const told = `<-${to(exchange)} ${this.#words.answer(exchange, exit, now)}`
          // Nothing is told of polls that bring nothing.
          return told.endsWith("nothing") ? undefined : this.#tell(who, told)
        }
        if (exchange.kind !== "sync") {
          this.#read.delete(known)
          return this.#tell(who, `<-${to(exchange)} ${this.#words.answer(exchange, exit, now)}`)
        }
        const read = `<-${to(exchange)} ${this.#words.read(exchange, exit, now)}`
        if (!isRead(exchange)) this.#tell(who, `<-${to(exchange)} ${this.#words.answer(exchange, exit, now)}`)
        else if (this.#read.get(known) !== gistOf(read)) this.#tell(who, read)
        this.#read.set(known, gistOf(read))
      },
      pushed: (process, announcement) => {
        if (announcement._tag === "Subscribed") return
        const { snapshot } = announcement
        const pushed = snapshot === undefined ? this.#words.pushed(announcement) : this.#words.snapshot(snapshot)
        this.#tell(this.#nameOf(process), `<~ ${pushed}`)
      },
      chained: (process, event) => this.#tell(this.#nameOf(process), chainInWords(event)),
      bodyStarts: (call) => {
        if (call.behaviour.takes > 0) this.#tell(this.#nameOf(call.process), this.#keyed(call.circuit, "call begins"))
      },
      callEnds: (call, exit) =>
        this.#tell(this.#nameOf(call.process), this.#keyed(call.circuit, endInWords(call, exit)))
    })
  }

  /** Records which process has which instance, because requests carry only random ids. */
  #learn(process: Process, { inputs }: Exchange): void {
    for (const input of inputs.values()) {
      if (input._tag === "Report") this.#instances.set(input.instance, this.#nameOf(process))
      if (input._tag === "Ask") this.#instances.set(input.lease.instance, this.#nameOf(process))
    }
  }

  #show(): void {
    const fleet = this.fleet
    for (const process of fleet.processes) {
      const { isPaused, isDead } = process.machine
      const condition = isDead ? "crashed" : process.isStopping ? "stopped" : isPaused ? "paused; " : ""
      for (const circuit of process.breakers.keys()) {
        const state = isDead || process.isStopping ? "" : this.#words.state(process.snapshot(circuit))
        this.#tell(this.#nameOf(process), this.#keyed(circuit, `${condition}${state}`))
      }
    }
    for (const server of fleet.servers) {
      for (const [circuit, { name }] of fleet.options.circuits.entries()) {
        const record = this.#words.record(server.documents.get(name)?.record, server.now())
        this.#tell(this.#isChain ? server.storage.backend : "storage", this.#keyed(circuit, record))
      }
    }
  }
}

const endOf = (command: Command): Behaviour["ends"] => {
  const ends = ENDS[command.word()]
  if (ends === undefined) throw new Error(`a call's dependency does one of ${Object.keys(ENDS).join(", ")}`)
  return ends
}

const seconds = (millis: number): string => (millis / 1000).toFixed(3)

/** A read without its durations, because those change with the clock alone. */
const gistOf = (read: string): string => read.replaceAll(/ for [\d.]+ \w+| in [\d.]+ \w+|, its time is up/g, "")

const isRead = ({ inputs, kind }: Exchange): boolean =>
  kind !== "bells" &&
  [...inputs.values()].every((input) => input._tag === "Report" && isEmpty(input.delta) && input.suspect === undefined)

const reasonOf = (exit: Exit.Failure<unknown, unknown>): string => {
  const error = exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
  return String((error as { readonly reason?: unknown } | undefined)?.reason ?? error)
}

const endInWords = ({ behaviour, startedAt }: Call, exit: Exit.Exit<unknown, unknown>): string => {
  const error = exit._tag === "Failure"
    ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
    : undefined
  if (startedAt === undefined) return rejectionInWords(error)
  const isTimeout = typeof error === "object" && error !== null && "_tag" in error &&
    error._tag === "BreakerTimeoutError"
  if (isTimeout) return "call timed out"
  const hint = behaviour.hint === undefined ? "" : `, retry after ${inWords(behaviour.hint)}`
  return behaviour.ends === "succeeds" ? "call succeeded" : behaviour.ends === "isIgnored"
    ? "call ignored"
    : behaviour.ends === "dies"
    ? "call died"
    : `call failed${hint}`
}

const tripOf = (text: string): unknown => {
  const [, name, list = ""] = /^(\w+)\((.*)\)$/.exec(text) ?? []
  const parts = list.split(",")
  switch (name) {
    case "consecutive":
      return { _tag: "ConsecutiveFailures", failures: Number(parts[0]) }
    case "failures":
      return { _tag: "Failures", count: Number(parts[0]), within: millisOf(parts[1]!) }
    case "rate":
      return {
        _tag: "FailureRate",
        threshold: Number(parts[0]),
        minimumCalls: Number(parts[2]),
        window: { _tag: "Within", duration: millisOf(parts[1]!) }
      }
    case "slow":
      return {
        _tag: "SlowCallRate",
        threshold: Number(parts[0]),
        minimumCalls: Number(parts[2]),
        window: { _tag: "Within", duration: millisOf(parts[1]!) },
        slowerThan: millisOf(parts[3]!)
      }
    default:
      throw new Error(
        "a trip policy is consecutive(n), failures(n,within), rate(threshold,within,calls) or " +
          `slow(threshold,within,calls,slowerThan), not ${text}`
      )
  }
}

const policyOf = (command: Command): Breaker.Data => {
  const trip = command.option("trip")
  const consistency = command.option("consistency")
  const reports = command.option("reports")
  const [calls, failureRate] = command.option("sample")?.split(",").map(Number) ?? []
  const halfOpen = {
    probes: command.number("probes"),
    successes: command.number("successes"),
    sample: calls === undefined ? undefined : { calls, failureRate },
    lease: command.millis("lease"),
    ramp: command.millis("ramp")
  }
  const [k, within, minimumCalls] = command.option("throttle")?.split(",") ?? []
  const policy = {
    trip: trip === undefined ? undefined : tripOf(trip),
    openFor: command.millis("openFor"),
    maxOpenFor: command.millis("maxOpenFor"),
    halfOpen: Object.values(halfOpen).every((value) => value === undefined) ? undefined : defined(halfOpen),
    throttle: k === undefined
      ? undefined
      : { k: Number(k), within: millisOf(within!), minimumCalls: Number(minimumCalls) },
    timeout: command.millis("timeout"),
    evidence: command.option("evidence"),
    enforcement: command.option("enforcement"),
    consistency: consistency === undefined || consistency === "local" || consistency === "strict"
      ? consistency
      : { maxAge: millisOf(consistency) },
    onStorageError: command.option("onStorageError"),
    syncEvery: command.millis("syncEvery"),
    reports: reports === "everyInterval" ? "every interval" : reports
  }
  return Schema.decodeUnknownSync(Breaker.Data)(defined(policy))
}

const defined = <A extends object>(fields: A): Partial<A> =>
  Object.fromEntries(Object.entries(fields).filter(([, value]) => value !== undefined)) as Partial<A>
