/** A process of a fleet. It calls an upstream through breakers on a storage, and logs its requests and its calls. */
import { Cause, Duration, Effect, Exit, Layer, Redacted, Result, Scope } from "effect"
import { Agent, get } from "node:http"
import { setFlagsFromString } from "node:v8"
import { runInNewContext } from "node:vm"
import { Breaker } from "../../src/index.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as PostgresStorageLive from "../../src/layers/PostgresStorageLive.ts"
import * as RedisStorageLive from "../../src/layers/RedisStorageLive.ts"
import { type Change, type CircuitReport, type Probe, type Snapshot, Storage } from "../../src/Storage/Storage.ts"
import { Lateness } from "../support/machine.ts"
import { type Call, type Counts, epochMillis, Log, now, type Request, type Seen, type View } from "./log.ts"

export interface Setup {
  readonly log: string
  readonly upstream: string
  readonly storage: { readonly kind: "redis" | "postgres"; readonly url: string }
  readonly policies: Readonly<Record<string, Breaker.Data>>
  /** The wall clock's time when the monotonic clock stood at 0, as read by the parent process. */
  readonly epoch: number
}

export interface Requests {
  /** Sets the calls per second, by circuit. Without any circuit, the reply waits until no call is running. */
  readonly load: Readonly<Record<string, number>>
  /** Makes one call. */
  readonly call: { readonly circuit: string }
  readonly look: { readonly circuit: string }
  /** What the process holds. */
  readonly usage: Readonly<Record<never, never>>
  /** Closes the breakers and the storage, as a process does before it exits. */
  readonly stop: Readonly<Record<never, never>>
}

export interface Looked extends View {
  readonly openedBy: Breaker.Snapshot["openedBy"]
  /** The counts of this process alone. */
  readonly counts: Counts
}

export interface Usage {
  /** Bytes of the heap that are in use after a collection. */
  readonly heap: number
  /** Open handles and requests of Node, but for timers and the connections to the upstream. */
  readonly handles: number
}

export interface Replies {
  readonly load: null
  readonly call: Call
  readonly look: Looked
  readonly usage: Usage
  readonly stop: null
}

const setup = JSON.parse(process.argv[2]!) as Setup
const log = new Log(setup.log)
log.write({ is: "started", at: now(), skew: epochMillis() - setup.epoch })

// -----------------------------------------------------------------------------
// requests to the storage
// -----------------------------------------------------------------------------

let lastId = 0

const logged = <A, E>(
  requests: ReadonlyArray<Request>,
  request: Effect.Effect<A, E>,
  answerOf: (answer: A) => { readonly seen: ReadonlyArray<Seen | null>; readonly done?: boolean }
): Effect.Effect<A, E> =>
  Effect.suspend(() => {
    const id = ++lastId
    log.write({ is: "sent", at: now(), id, requests })
    return Effect.onExit(request, (exit) =>
      Effect.sync(() => {
        const answer = Exit.isSuccess(exit)
          ? answerOf(exit.value)
          : { seen: requests.map(() => null), error: Cause.pretty(exit.cause) }
        log.write({ is: "answered", at: now(), id, ...answer })
      }))
  })

const seenOf = (circuit: string, { asOf, generation, state, why }: Snapshot): Seen => ({
  circuit,
  generation,
  state: state._tag,
  why: why?.reason,
  asOf
})

const ofReport = ({ circuit, delta: { lifetime }, generation, sequence }: CircuitReport): Request => ({
  circuit,
  generation,
  what: "Report",
  sequence,
  counts: { success: lifetime.success, failure: lifetime.failure, rejected: lifetime.rejected }
})

const ofChange = (circuit: string, change: Change): Request => ({
  circuit,
  generation: change._tag === "PutBack"
    ? change.snapshot.generation
    : change._tag === "Trip"
    ? change.generation
    : change.known,
  what: change._tag
})

const ofProbe = (circuit: string, probe: Probe): Request => ({
  circuit,
  generation: probe.generation,
  what: probe._tag === "Ask" ? probe._tag : `${probe._tag}${probe.outcome._tag}`,
  lease: `${probe.lease.instance} ${probe.lease.sequence}`,
  ...probe._tag === "Ask" ? { duration: probe.duration, probes: probe.probes } : {}
})

const polled = (bells: NonNullable<Storage["bells"]>): NonNullable<Storage["bells"]> => (since) =>
  Effect.onExit(
    bells(since),
    (exit) => Effect.sync(() => log.write({ is: "polled", at: now(), failed: Exit.isFailure(exit) }))
  )

/** The same storage. Every request and its answer is logged. */
const watched = (storage: Storage): Storage => ({
  ...storage,
  sync: (reports) =>
    logged(reports.map(ofReport), storage.sync(reports), (answers) => ({
      seen: answers.map(({ circuit, result }) =>
        Result.isSuccess(result) ? seenOf(circuit, result.success.snapshot) : null
      )
    })),
  change: (circuit, change) =>
    logged([ofChange(circuit, change)], storage.change(circuit, change), ({ committed, snapshot }) => ({
      seen: [seenOf(circuit, snapshot)],
      done: committed
    })),
  probe: (circuit, probe) =>
    logged([ofProbe(circuit, probe)], storage.probe(circuit, probe), ({ granted, snapshot }) => ({
      seen: [seenOf(circuit, snapshot)],
      done: granted
    })),
  ...storage.bells === undefined ? {} : { bells: polled(storage.bells) }
})

// -----------------------------------------------------------------------------
// calls
// -----------------------------------------------------------------------------

const scope = Scope.makeUnsafe()

const storage = await Effect.runPromise(
  Layer.buildWithScope(
    Layer.provide(
      Layer.effect(Storage, Effect.map(Storage, watched)),
      setup.storage.kind === "redis"
        ? RedisStorageLive.layer(IoRedis.fromUrl(setup.storage.url))
        : PostgresStorageLive.layer({ url: Redacted.make(setup.storage.url) })
    ),
    scope
  )
)

const breakers = new Map(
  await Promise.all(
    Object.entries(setup.policies).map(async ([name, policy]) =>
      [
        name,
        await Effect.runPromise(
          Breaker.make(name, policy).pipe(Scope.provide(scope), Effect.provide(storage))
        )
      ] as const
    )
  )
)

// The number of connections is limited, because a slow upstream must not use up the machine's ports.
const agent = new Agent({ keepAlive: true, maxSockets: 100 })

const callUpstream = (circuit: string): Effect.Effect<void, string> =>
  Effect.callback((resume) => {
    const request = get(`${setup.upstream}/${circuit}`, { agent }, (response) => {
      response.resume()
      response.on("end", () => resume(response.statusCode === 200 ? Effect.void : Effect.fail("ill")))
    })
    request.on("error", () => resume(Effect.fail("ill")))
    return Effect.sync(() => request.destroy())
  })

const viewOf = ({ fleet, retryAfter, state }: Breaker.Snapshot): View => ({
  state,
  ...retryAfter === undefined ? {} : { retryAfter: Duration.toMillis(retryAfter) },
  generation: fleet?.generation ?? 0,
  reachable: fleet?.reachable ?? true
})

const endOf = (exit: Exit.Exit<void, unknown>): string => {
  if (Exit.isSuccess(exit)) return "ok"
  const [reason] = exit.cause.reasons
  if (reason?._tag !== "Fail") return String(reason?._tag)
  if (Breaker.isRejection(reason.error)) return "rejected"
  return reason.error === "ill" ? "failed" : String(reason.error)
}

const called = new Set<string>()
const running = new Set<Promise<Call>>()

const call = (circuit: string): Promise<Call> => {
  const made = make(circuit)
  running.add(made)
  return made.finally(() => running.delete(made))
}

const make = (circuit: string): Promise<Call> =>
  new Promise((resolve) => {
    const breaker = breakers.get(circuit)!
    const isFirst = !called.has(circuit)
    const at = now()
    const before = viewOf(Effect.runSync(breaker.snapshot))
    let startedAt: number | undefined
    const body = Effect.suspend(() => {
      startedAt = now()
      return callUpstream(circuit)
    })
    const fiber = Effect.runFork(breaker.wrap(body))
    const atOnce = startedAt !== undefined || fiber.pollUnsafe() !== undefined
    const begunAt = now()
    fiber.addObserver((exit) => {
      called.add(circuit)
      const done: Call = {
        is: "call",
        at,
        begunAt,
        circuit,
        before,
        isFirst,
        atOnce,
        startedAt,
        endedAt: now(),
        ended: endOf(exit)
      }
      log.write(done)
      resolve(done)
    })
  })

// -----------------------------------------------------------------------------
// load
// -----------------------------------------------------------------------------

// Small delays are summed up to at least this much, so that one entry stands for many.
const LEAST_MILLIS = 20
let since = now()
let late = 0
new Lateness((by) => {
  late += by
  if (late < LEAST_MILLIS) return
  const at = now()
  log.write({ is: "late", since, at, by: late })
  since = at
  late = 0
})

const TICK = 10
/** Limits the calls that a process makes up for after a pause. */
const MOST_AT_ONCE = 20
let rates: Requests["load"] = {}
const due = new Map<string, number>()
let tickedAt = now()

setInterval(() => {
  const elapsed = now() - tickedAt
  tickedAt += elapsed
  for (const [circuit, rate] of Object.entries(rates)) {
    const calls = Math.min(MOST_AT_ONCE, (due.get(circuit) ?? 0) + rate * elapsed / 1000)
    for (let i = 1; i <= calls; i++) void call(circuit)
    due.set(circuit, calls % 1)
  }
}, TICK)

setFlagsFromString("--expose-gc")
const collect = runInNewContext("gc") as () => void

const usage = (): Usage => {
  collect()
  // Those that are kept for later calls hold nothing.
  const upstream = Object.values(agent.sockets).flat().length
  const held = process.getActiveResourcesInfo().filter((what) => what !== "Timeout" && what !== "Immediate")
  return { heap: process.memoryUsage().heapUsed, handles: held.length - upstream }
}

const answers: { readonly [K in keyof Requests]: (request: Requests[K]) => Promise<Replies[K]> } = {
  load: async (load) => {
    rates = load
    if (Object.keys(load).length === 0) await Promise.all(running)
    return null
  },
  call: ({ circuit }) => call(circuit),
  look: async ({ circuit }) => {
    const snapshot = Effect.runSync(breakers.get(circuit)!.snapshot)
    const { failure, rejected, success } = snapshot.statistics
    return { ...viewOf(snapshot), openedBy: snapshot.openedBy, counts: { success, failure, rejected } }
  },
  usage: async () => usage(),
  stop: async () => {
    rates = {}
    await Effect.runPromise(Scope.close(scope, Exit.void))
    return null
  }
}

process.on("message", ([what, request]: [keyof Requests, never]) => {
  void answers[what](request).then((reply) => process.send!(reply))
})
process.on("disconnect", () => process.exit())
process.send!("ready")
