/**
 * The process of one contender. It prepares the contender's cases, then times one slice of calls per request.
 *
 * Every call starts from JavaScript and is awaited, an effect in a fiber of its own, because that is how a server makes
 * calls. A loop within one fiber would be less noisy, but no server makes calls in one, and contenders that wrap
 * promises have no counterpart.
 */
import { Effect } from "effect"
import { setImmediate } from "node:timers/promises"
import { type Case, cases, CONCURRENCY, failing, makeKeys, type Spec, type Workload } from "./cases.ts"
import type { Contender, Subject } from "./contenders/contender.ts"
import { load } from "./contenders/index.ts"

export type Request =
  | { readonly _tag: "Prepare"; readonly case: string; readonly warmUpMillis: number; readonly sliceMillis: number }
  | { readonly _tag: "Slice"; readonly case: string; readonly bareFirst: boolean }
  | { readonly _tag: "Check"; readonly case: string }

/** Nanoseconds per call, in a slice of bare calls and in a slice of calls through the contender. */
export interface Slice {
  readonly bare: number
  readonly call: number
}

interface Prepared extends Subject {
  readonly case: Case
  readonly slices: { bare: number; call: number }
}

type Call = () => Promise<unknown>

const loops: Record<Case["mode"], (call: Call, calls: number) => Promise<void>> = {
  sequential: async (call, calls) => {
    for (let i = 0; i < calls; i++) await call()
  },
  rejecting: async (call, calls) => {
    for (let i = 0; i < calls; i++) {
      try {
        await call()
      } catch {
        continue
      }
      throw new Error(`${contenderName}: a call succeeded in a case where all fail`)
    }
  },
  concurrent: async (call, calls) => {
    for (let done = 0; done < calls; done += CONCURRENCY) {
      const batch = new Array<Promise<unknown>>(CONCURRENCY)
      for (let i = 0; i < CONCURRENCY; i++) batch[i] = call()
      await Promise.all(batch)
    }
  }
}

/** Nanoseconds per call. */
const time = async (mode: Case["mode"], call: Call, calls: number): Promise<number> => {
  const start = process.hrtime.bigint()
  await loops[mode](call, calls)
  return Number(process.hrtime.bigint() - start) / calls
}

/** Runs calls for `warmUpMillis` and returns the number of calls in a slice of `sliceMillis`. */
const warmUp = async (mode: Case["mode"], call: Call, warmUpMillis: number, sliceMillis: number): Promise<number> => {
  const least = mode === "concurrent" ? CONCURRENCY : 100
  const end = performance.now() + warmUpMillis
  let each: number
  do each = await time(mode, call, least)
  while (performance.now() < end)
  each = Math.min(each, await time(mode, call, 10 * least))
  return Math.max(1, Math.round(sliceMillis * 1e6 / each / least)) * least
}

// -----------------------------------------------------------------------------
// checks that a contender does what the case says
// -----------------------------------------------------------------------------

const assert = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`${contenderName}: ${what}`)
}

const isBreaker = (name: string) => !["floor", "timeout-alone", "map-get"].includes(name)

const fail = async (subject: Subject, times: number): Promise<void> => {
  for (let i = 0; i < times; i++) await subject.call().catch(() => undefined)
}

/**
 * Checks that failures open a circuit of the case's kind, that a timeout bounds its calls, and that it runs none while
 * open.
 */
const verify = async (contender: Contender, { name, spec }: Case): Promise<void> => {
  if (contender.single === undefined || !isBreaker(contenderName)) return
  const twin = await contender.single(spec, failing)
  const opens = Number.isFinite(spec.failures)
  assert(!await twin.isOpen(), `${name}: the circuit is open before the first call`)
  await fail(twin, 200)
  assert(
    await twin.isOpen() === opens,
    `${name}: 200 failures ${opens ? "did not open the circuit" : "opened the circuit"}`
  )
  if (spec.timeoutMillis !== undefined) await verifyTimeout(contender, spec)
  if (spec.failures === 1) await verifyRejection(contender, spec)
}

const verifyTimeout = async (contender: Contender, spec: Spec): Promise<void> => {
  const hanging: Workload = { effect: Effect.never, fn: () => new Promise(() => {}) }
  const subject = await contender.single!({ ...spec, timeoutMillis: 10 }, hanging)
  const timer = setTimeout(() => assert(false, "a hanging call did not time out within 2 seconds"), 2000)
  await subject.call().then(() => assert(false, "a hanging call succeeded"), () => {})
  clearTimeout(timer)
}

const verifyRejection = async (contender: Contender, spec: Spec): Promise<void> => {
  let runs = 0
  const counting: Workload = {
    effect: Effect.suspend(() => {
      runs++
      return failing.effect
    }),
    fn: () => {
      runs++
      return failing.fn()
    }
  }
  const subject = await contender.single!(spec, counting)
  await fail(subject, 10)
  assert(runs === 1, `an open circuit ran ${runs - 1} calls`)
}

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

const contenderName = process.argv[2]!
const contender = await load(contenderName)
const prepared = new Map<string, Prepared>()

const prepare = async (name: string, warmUpMillis: number, sliceMillis: number): Promise<void> => {
  const current = cases.find((c) => c.name === name)!
  await verify(contender, current)
  const { keys, mode, spec, workload } = current
  const subject = keys === undefined
    ? await contender.single!(spec, workload)
    : await contender.keyed!(spec, workload, keys, inTurn(makeKeys(keys)))
  if (name.startsWith("rejection")) await fail(subject, 1)
  // One call per key makes the key's circuit.
  if (keys !== undefined) { for (let i = 0; i < keys; i++) await subject.call() }
  const slices = await whileOthersWait(subject, current, async () => ({
    bare: await warmUp(mode, subject.bare, warmUpMillis / 2, sliceMillis),
    call: await warmUp(mode, subject.call, warmUpMillis, sliceMillis)
  }))
  prepared.set(name, { ...subject, case: current, slices })
}

/** Starts the case's waiting calls before `measure` and lets them succeed afterwards. */
const whileOthersWait = async <A>({ wait }: Subject, { waiting }: Case, measure: () => Promise<A>): Promise<A> => {
  if (waiting === undefined) return measure()
  const { promise: answer, resolve } = Promise.withResolvers<number>()
  const calls = Array.from({ length: waiting }, () => wait!(answer))
  // All are suspended, and the garbage of starting them is collected, before the first measured call.
  await setImmediate()
  globalThis.gc!()
  try {
    return await measure()
  } finally {
    resolve(1)
    await Promise.all(calls)
  }
}

const inTurn = (keys: ReadonlyArray<string>) => {
  let at = 0
  return () => {
    const key = keys[at]!
    at = at + 1 === keys.length ? 0 : at + 1
    return key
  }
}

const slice = (prepared: Prepared, bareFirst: boolean): Promise<Slice> => {
  const { bare, call, case: { mode }, slices } = prepared
  return whileOthersWait(prepared, prepared.case, async () => {
    if (bareFirst) return { bare: await time(mode, bare, slices.bare), call: await time(mode, call, slices.call) }
    const first = await time(mode, call, slices.call)
    return { bare: await time(mode, bare, slices.bare), call: first }
  })
}

const answer = async (request: Request): Promise<Slice | "done"> => {
  switch (request._tag) {
    case "Prepare":
      await prepare(request.case, request.warmUpMillis, request.sliceMillis)
      return "done"
    case "Slice":
      return await slice(prepared.get(request.case)!, request.bareFirst)
    case "Check":
      assert(
        await prepared.get(request.case)!.isOpen() === request.case.startsWith("rejection"),
        `${request.case}: the circuit changed its state while it was measured`
      )
      return "done"
  }
}

process.on("message", (request: Request) => {
  answer(request).then(
    (reply) => process.send!(reply),
    (error) => {
      console.error(error)
      process.exit(1)
    }
  )
})
