/**
 * The cases of the benchmark, and the contenders of each.
 */
import { Effect } from "effect"

/** The policy of a circuit. Each contender translates it into its own options. */
export interface Spec {
  readonly trip: "consecutive" | "window"
  /** Consecutive failures that open the circuit. With `Infinity` it counts failures and never opens. */
  readonly failures: number
  readonly timeoutMillis?: number
}

/** A call to a dependency: an effect, and the same as a function for contenders that wrap promises. */
export interface Workload {
  readonly effect: Effect.Effect<number, Error>
  readonly fn: () => Promise<number>
  /**
   * Whether each call has a context of its own, as in a server that provides a service or makes a span for each
   * request.
   */
  readonly freshContext?: boolean
}

export interface Case {
  readonly name: string
  readonly spec: Spec
  readonly workload: Workload
  /**
   * Calls run one after another, or 1,000 at once. In the mode `rejecting` they run one after another and all reject.
   */
  readonly mode: "sequential" | "rejecting" | "concurrent"
  /** Calls that wait for their dependency, in the same circuit, while the measured calls run. */
  readonly waiting?: number
  /** Keys of a keyed breaker. Calls use them in order, then start again with the first. */
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

/** Completes at once. Not `Effect.succeed`, which is an exit and runs nothing. */
export const succeeding: Workload = {
  effect: Effect.sync(() => 1),
  fn: async () => 1
}

const succeedingInFreshContext: Workload = { ...succeeding, freshContext: true }

export const failing: Workload = {
  effect: Effect.failSync(() => error),
  fn: async () => {
    throw error
  }
}

/**
 * Suspends once, as every call over a network does. Without it, concurrent calls would run one after another and a
 * timeout would have nothing to bound.
 */
const suspending: Workload = {
  effect: Effect.promise(() => Promise.resolve(1)),
  fn: async () => {
    await undefined
    return 1
  }
}

/** Calls at once in the mode `concurrent`. */
export const CONCURRENCY = 1000

const inHandAndService = ["ours", "ours-service"]
const peers = ["effect", "cockatiel", "cockatiel-effect", "opossum"]
const all = [...inHandAndService, ...peers]
const fleetAndMemory = ["ours-synced", "ours-alone"]
const fleetAndMemoryByService = ["ours-service-synced", "ours-service-alone"]
const keyed = ["ours", "effect", "map-get"]

const consecutive: Spec = { trip: "consecutive", failures: 5 }
const window: Spec = { trip: "window", failures: 5 }
const tripsAtOnce: Spec = { trip: "consecutive", failures: 1 }
const withTimeout: Spec = { ...consecutive, timeoutMillis: 2000 }

// So long that no waiting call reaches it while a slice is measured, however busy the machine is.
const withLongTimeout: Spec = { ...consecutive, timeoutMillis: 60_000 }

export const cases: ReadonlyArray<Case> = [
  {
    name: "closed-consecutive",
    spec: consecutive,
    workload: succeeding,
    mode: "sequential",
    contenders: [...all, "floor"]
  },
  {
    name: "closed-fresh-context",
    spec: consecutive,
    workload: succeedingInFreshContext,
    mode: "sequential",
    // On bare promises there is no context.
    contenders: [...inHandAndService, "effect", "cockatiel-effect", "floor"]
  },
  { name: "closed-window", spec: window, workload: succeeding, mode: "sequential", contenders: all },
  {
    name: "closed-timeout",
    spec: withTimeout,
    workload: suspending,
    mode: "sequential",
    contenders: [...all, "timeout-alone"]
  },
  ...[1, 100, 10_000].map((waiting): Case => ({
    name: `timeout-${waiting}-waiting`,
    spec: withLongTimeout,
    workload: suspending,
    mode: "sequential",
    waiting,
    // Effect's own breaker has no timeout.
    contenders: ["ours", "cockatiel", "cockatiel-effect", "opossum", "timeout-alone"]
  })),
  {
    name: "failing",
    spec: { trip: "consecutive", failures: Infinity },
    workload: failing,
    mode: "rejecting",
    contenders: all
  },
  {
    name: "rejection",
    spec: tripsAtOnce,
    workload: failing,
    mode: "rejecting",
    contenders: all
  },
  // The same calls on a storage of the fleet and on the memory of the process.
  {
    name: "closed-synced",
    spec: consecutive,
    workload: succeeding,
    mode: "sequential",
    contenders: [...fleetAndMemory, ...fleetAndMemoryByService]
  },
  {
    name: "closed-fresh-context-synced",
    spec: consecutive,
    workload: succeedingInFreshContext,
    mode: "sequential",
    contenders: [...fleetAndMemory, ...fleetAndMemoryByService]
  },
  { name: "closed-window-synced", spec: window, workload: succeeding, mode: "sequential", contenders: fleetAndMemory },
  {
    name: "closed-timeout-synced",
    spec: withTimeout,
    workload: suspending,
    mode: "sequential",
    contenders: fleetAndMemory
  },
  { name: "rejection-synced", spec: tripsAtOnce, workload: failing, mode: "rejecting", contenders: fleetAndMemory },
  // The same calls with metrics that nobody scrapes, and without.
  ...(["closed", "closed-window", "rejection"] as const).map((name): Case => ({
    name: `${name}-metrics`,
    spec: { closed: consecutive, "closed-window": window, rejection: tripsAtOnce }[name],
    workload: name === "rejection" ? failing : succeeding,
    mode: name === "rejection" ? "rejecting" : "sequential",
    contenders: ["ours-metered", "ours-unmetered"]
  })),
  // The same calls with a throttle, and without.
  ...(["closed", "closed-window"] as const).map((name): Case => ({
    name: `${name}-throttle`,
    spec: { closed: consecutive, "closed-window": window }[name],
    workload: succeeding,
    mode: "sequential",
    contenders: ["ours-throttled", "ours-unthrottled"]
  })),
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

const holders = ["ours", "effect", "cockatiel", "cockatiel-effect"]

export const memoryCases: ReadonlyArray<MemoryCase> = [
  { name: "memory-consecutive-100k", spec: consecutive, circuits: 100_000, contenders: holders },
  { name: "memory-window-100k", spec: window, circuits: 100_000, contenders: holders }
]

/** The same keys for all contenders: flat strings that are already hashed, as after a first use in a map. */
export const makeKeys = (count: number): ReadonlyArray<string> => {
  const keys = Array.from({ length: count }, (_, i) => `tenant-${i}.example.com`)
  return [...new Map(keys.map((key) => [key, 0])).keys()]
}
