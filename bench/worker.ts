/**
 * The process of one contender: prepares its cases, and times a slice of calls when it is told to.
 *
 * Every call is made as a server makes it: from JavaScript, awaited, an effect in a fiber of its own. A loop within one fiber
 * would be less noisy, but is no call that a server makes, and no counterpart to what contenders that take functions do.
 */
import { Effect } from "effect"
import { type Case, cases, CONCURRENCY, failing, makeKeys, type Spec, type Workload } from "./cases.ts"
import type { Contender, Subject } from "./contenders/contender.ts"
import { load } from "./contenders/index.ts"

export type Request =
  | { readonly _tag: "Prepare"; readonly case: string; readonly warmUpMs: number; readonly sliceMs: number }
  | { readonly _tag: "Slice"; readonly case: string; readonly bareFirst: boolean }
  | { readonly _tag: "Check"; readonly case: string }

/** Nanoseconds a call, of a slice of bare calls and of one of calls through the contender. */
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
      throw new Error("a call of this case must not succeed")
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

/** Nanoseconds a call. */
const time = async (mode: Case["mode"], call: Call, calls: number): Promise<number> => {
  const start = process.hrtime.bigint()
  await loops[mode](call, calls)
  return Number(process.hrtime.bigint() - start) / calls
}

/** Runs for `warmUpMs`, and tells how many calls make a slice of `sliceMs`. */
const warmUp = async (mode: Case["mode"], call: Call, warmUpMs: number, sliceMs: number): Promise<number> => {
  const least = mode === "concurrent" ? CONCURRENCY : 100
  const end = performance.now() + warmUpMs
  let each: number
  do each = await time(mode, call, least)
  while (performance.now() < end)
  each = Math.min(each, await time(mode, call, 10 * least))
  return Math.max(1, Math.round(sliceMs * 1e6 / each / least)) * least
}

// -----------------------------------------------------------------------------
// does it do what the case says?
// -----------------------------------------------------------------------------

const assert = (holds: boolean, what: string): void => {
  if (!holds) throw new Error(`${contenderName}: ${what}`)
}

const isBreaker = (name: string) => !["floor", "timeout-alone", "map-get"].includes(name)

const fail = async (subject: Subject, times: number): Promise<void> => {
  for (let i = 0; i < times; i++) await subject.call().catch(() => undefined)
}

/** How a circuit of the case's kind takes failures, calls that hang, and calls while it is open. */
const verify = async (contender: Contender, { name, spec }: Case): Promise<void> => {
  if (contender.single === undefined || !isBreaker(contenderName)) return
  const twin = await contender.single(spec, failing)
  assert(!await twin.isOpen(), `${name}: begins open`)
  await fail(twin, 200)
  assert(await twin.isOpen() === Number.isFinite(spec.failures), `${name}: 200 failures do not do what they should`)
  if (spec.timeout !== undefined) await verifyTimeout(contender, spec)
  if (spec.failures === 1) await verifyRejection(contender, spec)
}

const verifyTimeout = async (contender: Contender, spec: Spec): Promise<void> => {
  const hanging: Workload = { effect: Effect.never, fn: () => new Promise(() => {}) }
  const subject = await contender.single!({ ...spec, timeout: 10 }, hanging)
  const timer = setTimeout(() => assert(false, "a hanging call is not timed out"), 2000)
  await subject.call().then(() => assert(false, "a hanging call succeeds"), () => {})
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
  assert(runs === 1, "an open circuit runs calls")
}

// -----------------------------------------------------------------------------
// requests
// -----------------------------------------------------------------------------

const contenderName = process.argv[2]!
const contender = await load(contenderName)
const prepared = new Map<string, Prepared>()

const prepare = async (name: string, warmUpMs: number, sliceMs: number): Promise<void> => {
  const current = cases.find((c) => c.name === name)!
  await verify(contender, current)
  const { keys, mode, spec, workload } = current
  const subject = keys === undefined
    ? await contender.single!(spec, workload)
    : await contender.keyed!(spec, workload, keys, inTurn(makeKeys(keys)))
  if (name.startsWith("rejection")) await fail(subject, 1)
  // A whole round makes every key's circuit.
  if (keys !== undefined) { for (let i = 0; i < keys; i++) await subject.call() }
  const bare = await warmUp(mode, subject.bare, warmUpMs / 2, sliceMs)
  const call = await warmUp(mode, subject.call, warmUpMs, sliceMs)
  prepared.set(name, { ...subject, case: current, slices: { bare, call } })
}

const inTurn = (keys: ReadonlyArray<string>) => {
  let at = 0
  return () => {
    const key = keys[at]!
    at = at + 1 === keys.length ? 0 : at + 1
    return key
  }
}

const slice = async ({ bare, call, case: { mode }, slices }: Prepared, bareFirst: boolean): Promise<Slice> => {
  if (bareFirst) return { bare: await time(mode, bare, slices.bare), call: await time(mode, call, slices.call) }
  const first = await time(mode, call, slices.call)
  return { bare: await time(mode, bare, slices.bare), call: first }
}

const answer = async (request: Request): Promise<Slice | "done"> => {
  switch (request._tag) {
    case "Prepare":
      await prepare(request.case, request.warmUpMs, request.sliceMs)
      return "done"
    case "Slice":
      return await slice(prepared.get(request.case)!, request.bareFirst)
    case "Check":
      assert(
        await prepared.get(request.case)!.isOpen() === request.case.startsWith("rejection"),
        `${request.case}: the circuit did not stay as it was`
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
