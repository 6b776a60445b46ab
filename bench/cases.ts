/**
 * What is measured, and against whom.
 */
import { Effect } from "effect"

/** How a circuit is set up; each contender says it in its own words. */
export interface Spec {
  readonly trip: "consecutive" | "window"
  /** Failures in a row that open it; `Infinity` for a circuit that counts failures and never opens. */
  readonly failures: number
  /** Milliseconds. */
  readonly timeout?: number
}

/** A call to a dependency, for contenders that take effects and for those that take functions. */
export interface Workload {
  readonly effect: Effect.Effect<number, Error>
  readonly fn: () => Promise<number>
}

export interface Case {
  readonly name: string
  readonly spec: Spec
  readonly workload: Workload
  /**
   * How calls are made: one after another; the same with every call ending in a rejected promise; or 1,000 at once.
   */
  readonly mode: "sequential" | "rejecting" | "concurrent"
  /** The keys of a keyed breaker, used in order and again from the first. */
  readonly keys?: number
  readonly contenders: ReadonlyArray<string>
}

export interface MemoryCase {
  readonly name: string
  readonly spec: Spec
  readonly circuits: number
  readonly contenders: ReadonlyArray<string>
}

const error = new Error("unavailable")

/** Done at once. Not `Effect.succeed`, which calls nothing. */
export const succeeding: Workload = {
  effect: Effect.sync(() => 1),
  fn: async () => 1
}

export const failing: Workload = {
  effect: Effect.failSync(() => error),
  fn: async () => {
    throw error
  }
}

/**
 * Gives way once, as every call over a network does: calls made at once are under way at once, and a timeout has something to
 * bound.
 */
export const suspending: Workload = {
  effect: Effect.promise(() => Promise.resolve(1)),
  fn: async () => {
    await undefined
    return 1
  }
}

/** Calls at once in the mode `concurrent`. */
export const CONCURRENCY = 1000

const all = ["ours", "ours-service", "effect", "cockatiel", "opossum"]
const synced = ["ours-synced", "ours-alone"]
const keyed = ["ours", "effect", "map-get"]
const consecutive: Spec = { trip: "consecutive", failures: 5 }
const window: Spec = { trip: "window", failures: 5 }

export const cases: ReadonlyArray<Case> = [
  {
    name: "closed-consecutive",
    spec: consecutive,
    workload: succeeding,
    mode: "sequential",
    contenders: [...all, "floor"]
  },
  { name: "closed-window", spec: window, workload: succeeding, mode: "sequential", contenders: all },
  {
    name: "closed-timeout",
    spec: { ...consecutive, timeout: 2000 },
    workload: suspending,
    mode: "sequential",
    contenders: [...all, "timeout-alone"]
  },
  {
    name: "failing",
    spec: { trip: "consecutive", failures: Infinity },
    workload: failing,
    mode: "rejecting",
    contenders: all
  },
  {
    name: "rejection",
    spec: { trip: "consecutive", failures: 1 },
    workload: failing,
    mode: "rejecting",
    contenders: all
  },
  // The same numbers with a storage of the fleet's underneath as with the memory of the process.
  { name: "closed-synced", spec: consecutive, workload: succeeding, mode: "sequential", contenders: synced },
  {
    name: "rejection-synced",
    spec: { trip: "consecutive", failures: 1 },
    workload: failing,
    mode: "rejecting",
    contenders: synced
  },
  { name: "concurrent-1000", spec: consecutive, workload: suspending, mode: "concurrent", contenders: all },
  {
    name: "keyed-100-hot",
    spec: consecutive,
    workload: succeeding,
    mode: "sequential",
    keys: 100,
    contenders: keyed
  },
  {
    name: "keyed-100k",
    spec: consecutive,
    workload: succeeding,
    mode: "sequential",
    keys: 100_000,
    contenders: keyed
  }
]

const holders = ["ours", "effect", "cockatiel"]

export const memoryCases: ReadonlyArray<MemoryCase> = [
  { name: "memory-consecutive-100k", spec: consecutive, circuits: 100_000, contenders: holders },
  { name: "memory-window-100k", spec: window, circuits: 100_000, contenders: holders }
]

/** The same texts for all, flat and hashed as a map's keys are after its first use. */
export const makeKeys = (count: number): ReadonlyArray<string> => {
  const keys = Array.from({ length: count }, (_, i) => `tenant-${i}.example.com`)
  return [...new Map(keys.map((key) => [key, 0])).keys()]
}
