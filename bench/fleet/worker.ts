/** The process of one contender. It answers one request at a time. */
import { Effect, Exit } from "effect"
import { monitorEventLoopDelay } from "node:perf_hooks"
import { setImmediate, setTimeout as sleep } from "node:timers/promises"
import { makeKeys, succeeding } from "../cases.ts"
import type { Circuit, Contender } from "./contender.ts"

export interface Requests {
  /** Makes calls in that many fibers at once, for about `millis`. Replies with calls per second. */
  readonly rush: { readonly fibers: number; readonly millis: number }
  /**
   * Makes calls one after another, each from JavaScript as a server does. Replies with nanoseconds per call, and per
   * bare call.
   */
  readonly cost: { readonly millis: number; readonly alike: ReadonlyArray<string> }
  /** Starts to make `rate` calls per second, spread over `circuits`. `failing` is the share of calls that fail. */
  readonly pace: {
    readonly rate: number
    readonly seconds: number
    readonly circuits: number
    readonly failing: number
  }
  /** Waits until the calls of `pace` are made. Replies with calls per second. */
  readonly paced: Record<never, never>
  /** Makes calls as `pace` does. Replies with the delay of the event loop meanwhile, in milliseconds. */
  readonly delay: Requests["pace"]
  /** Starts to call each circuit until it rejects. */
  readonly watch: { readonly circuits: ReadonlyArray<string> }
  /**
   * Waits until all circuits of `watch` have rejected. Replies with the times, in milliseconds of the host's monotonic
   * clock.
   */
  readonly rejected: Record<never, never>
  /** Fails one call on each circuit, which opens it, spread over `millis`. Replies with the times of the failures. */
  readonly trip: { readonly circuits: ReadonlyArray<string>; readonly millis: number }
}

export interface Replies {
  readonly rush: number
  readonly cost: { readonly bare: number; readonly call: number }
  readonly pace: null
  readonly paced: number
  readonly delay: { readonly p50: number; readonly p99: number; readonly max: number }
  readonly watch: null
  readonly rejected: ReadonlyArray<number>
  readonly trip: ReadonlyArray<number>
}

export type Answers<Requests, Replies extends { readonly [_ in keyof Requests]: unknown }> = {
  readonly [K in keyof Requests]: (request: Requests[K]) => Promise<Replies[K]>
}

/** The module that a benchmark gives to its processes. */
interface Module {
  readonly load: (name: string) => Promise<Contender>
  /** Answers to the requests that only this benchmark makes. */
  readonly answers?: Answers<Record<string, never>, Record<string, unknown>>
}

const [module, contenderName] = process.argv.slice(2)
const { answers: more, load }: Module = await import(module!)
const contender = await load(contenderName!)
const call = succeeding.effect

/** Milliseconds of a clock that all processes of the host share. */
const monotonic = (): number => Number(process.hrtime.bigint()) / 1e6

const remember = <K, A>(make: (key: K) => Promise<A>) => {
  const made = new Map<K, Promise<A>>()
  return (key: K): Promise<A> => {
    let found = made.get(key)
    if (found === undefined) made.set(key, found = make(key))
    return found
  }
}

/** Circuits that stay closed. */
const closed = remember((name: string) => contender.circuit(`${contenderName}-${name}`, 5))

// -----------------------------------------------------------------------------
// calls per second, and the cost of a call
// -----------------------------------------------------------------------------

const rates = new Map<string, number>()

/** Runs something for about `millis`, as often as its last rate suggests. Returns the new rate, in runs per second. */
const forAbout = async (what: string, millis: number, run: (times: number) => Promise<void>): Promise<number> => {
  const times = Math.max(200, Math.round((rates.get(what) ?? 0) * millis / 1000))
  const start = performance.now()
  let done = 0
  // Once the rate is known, one repetition is enough.
  do {
    await run(times)
    done += times
  } while (!rates.has(what) && performance.now() - start < millis)
  const rate = done * 1000 / (performance.now() - start)
  rates.set(what, rate)
  return rate
}

const rush = async ({ fibers, millis }: Requests["rush"]): Promise<number> => {
  const { wrap } = await closed(`rush-${fibers}`)
  return forAbout(`rush-${fibers}`, millis, async (calls) => {
    let left = calls
    const fiber = Effect.whileLoop({ while: () => left-- > 0, body: () => wrap(call), step: () => {} })
    await Effect.runPromise(
      Effect.all(Array.from({ length: fibers }, () => fiber), { concurrency: "unbounded", discard: true })
    )
  })
}

// Effect's run loop is slower in a process that has run more kinds of effects, so each process first runs those of all
// contenders.
const alike = remember(async (names: string) => {
  const circuits = await Promise.all(names.split(" ").map(async (name) => (await load(name)).circuit("alike", 5)))
  for (const { wrap } of circuits) {
    for (let i = 0; i < 20_000; i++) await Effect.runPromise(wrap(call))
  }
  await sleep(1500)
  for (const { close } of circuits) await Effect.runPromise(close)
})

const cost = async ({ alike: names, millis }: Requests["cost"]): Promise<Replies["cost"]> => {
  await alike(names.join(" "))
  const { wrap } = await closed("cost")
  const each = async (what: string, make: () => typeof call | ReturnType<typeof wrap>) =>
    1e9 / await forAbout(what, millis, async (calls) => {
      for (let i = 0; i < calls; i++) await Effect.runPromise(make())
    })
  return { bare: await each("bare", () => call), call: await each("call", () => wrap(call)) }
}

// -----------------------------------------------------------------------------
// a given rate of calls
// -----------------------------------------------------------------------------

const keyed = remember((name: string) => contender.wrapKeyed(name))

/** With more calls at once, Effect's own breaker only gets slower. */
const MAX_CONCURRENT = 1024

const failure = Effect.fail("unavailable")

const makeCalls = async ({ circuits, failing, rate, seconds }: Requests["pace"]): Promise<number> => {
  const wrap = await keyed(`${contenderName}-${process.pid}`)
  const keys = makeKeys(circuits)
  const start = performance.now()
  const end = start + seconds * 1000
  let [made, running] = [0, 0]
  while (performance.now() < end) {
    const due = Math.floor((performance.now() - start) * rate / 1000)
    while (made < due && running < MAX_CONCURRENT) {
      made++
      running++
      const fails = failing > 0 && made % Math.round(1 / failing) === 0
      Effect.runFork(wrap(fails ? failure : call, keys[made % circuits]!)).addObserver(() => running--)
    }
    await sleep(5)
  }
  return made * 1000 / (performance.now() - start)
}

let paced: Promise<number>

const pace = async (load: Requests["pace"]): Promise<null> => {
  paced = makeCalls(load)
  return null
}

const delay = async (load: Requests["delay"]): Promise<Replies["delay"]> => {
  const histogram = monitorEventLoopDelay({ resolution: 1 })
  histogram.enable()
  await makeCalls(load)
  histogram.disable()
  const millis = (nanos: number) => nanos / 1e6
  return {
    p50: millis(histogram.percentile(50)),
    p99: millis(histogram.percentile(99)),
    max: millis(histogram.max)
  }
}

// -----------------------------------------------------------------------------
// the time until another process rejects
// -----------------------------------------------------------------------------

// The subscription to changes lives as long as any breaker, so this one keeps it open between measurements.
const keeper = await contender.circuit(`${contenderName}-keeper`, 1)
await Effect.runPromise(keeper.wrap(call))

const rejectionOf = async ({ close, wrap }: Circuit): Promise<number> => {
  while (Exit.isSuccess(await Effect.runPromiseExit(wrap(call)))) await setImmediate()
  const at = monotonic()
  await Effect.runPromise(close)
  return at
}

let watched: Promise<ReadonlyArray<number>>

const watch = async ({ circuits: names }: Requests["watch"]): Promise<null> => {
  const circuits = await Promise.all(names.map((name) => contender.circuit(name, 1)))
  for (const { wrap } of circuits) await Effect.runPromise(wrap(call))
  watched = Promise.all(circuits.map(rejectionOf))
  return null
}

const tripOne = async (name: string): Promise<number> => {
  const { close, wrap } = await contender.circuit(name, 1)
  await Effect.runPromise(wrap(call))
  let at = 0
  const failing = Effect.suspend(() => {
    at = monotonic()
    return failure
  })
  await Effect.runPromiseExit(wrap(failing))
  await Effect.runPromise(close)
  return at
}

const trip = ({ circuits, millis }: Requests["trip"]): Promise<ReadonlyArray<number>> =>
  Promise.all(circuits.map(async (name, i) => {
    await sleep(millis * i / circuits.length)
    return tripOne(name)
  }))

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

const answers: Answers<Requests, Replies> = {
  rush,
  cost,
  pace,
  paced: () => paced,
  delay,
  watch,
  rejected: () => watched,
  trip
}

process.on("message", ([what, request]: [keyof Requests, never]) => {
  const { [what]: answer } = { ...answers, ...more }
  answer(request).then(
    (reply) => process.send!(reply),
    (error) => {
      console.error(error)
      process.exit(1)
    }
  )
})
process.send!("ready")
