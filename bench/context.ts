/**
 * `npm run bench:context`: the cost of reading a reference of the calling fiber's context, as each call does for
 * `Enforcement`, beside caches of it. The last column says whether the cache keeps a request's context alive.
 */
import { Context } from "effect"

const CALLS = 5_000_000
const ROUNDS = 5

const Mode = Context.Reference<string>("bench/Mode", { defaultValue: () => "enforce" })
const Service = Context.Service<number>("bench/Service")
const Request = Context.Service<number>("bench/Request")

const application = Context.make(Service, 1)
const requests = Array.from({ length: 64 }, (_, i) => Context.add(application, Request, i))
const requestAt = (i: number): Context.Context<never> => requests[i & 63]!

let seen: Context.Context<never> | undefined
let mode = "enforce"
const weakly = new WeakRef<object>(application)
const byContext = new WeakMap<object, string>(requests.map((context) => [context, "enforce"]))

const ways: ReadonlyArray<readonly [name: string, keeps: string, read: (i: number) => unknown]> = [
  ["read, one context", "nothing", () => Context.get(application, Mode)],
  ["read, a context for each call", "nothing", (i) => Context.get(requestAt(i), Mode)],
  ["a WeakRef to the last context", "nothing", () => weakly.deref() === application],
  ["a WeakMap, without insertion", "nothing", (i) => byContext.get(requestAt(i))],
  ["a reference to the last context", "the last request", () => {
    if (application !== seen) {
      seen = application
      mode = Context.get(application, Mode)
    }
    return mode
  }]
]

/** Exported, so that the compiler does not remove the reads as dead code. */
export let reads = 0

const nanosOf = (read: (i: number) => unknown): number => {
  const start = process.hrtime.bigint()
  for (let i = 0; i < CALLS; i++) if (read(i) !== undefined) reads++
  return Number(process.hrtime.bigint() - start) / CALLS
}

const samples = ways.map((): Array<number> => [])
for (let round = 0; round < ROUNDS; round++) {
  for (const [i, [, , read]] of ways.entries()) samples[i]!.push(nanosOf(read))
}
for (const [i, [name, keeps]] of ways.entries()) {
  const median = samples[i]!.toSorted((a, b) => a - b)[Math.floor(ROUNDS / 2)]!
  console.log(`${name.padEnd(34)}${median.toFixed(0).padStart(4)} ns   keeps ${keeps}`)
}
