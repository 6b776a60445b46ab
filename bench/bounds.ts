/**
 * The bounds on the cost of a call, and whether a run met them. All but the bytes are ratios of two results of the same
 * run, because machines differ. docs/cost.md has the same table with the reason for each.
 */
import type { MemoryResult, Result } from "./results.ts"

export interface Bound {
  readonly text: string
  readonly measured: number
  readonly atMost: number
  readonly unit: "×" | "B"
  readonly met: boolean
}

interface Measured {
  readonly text: string
  readonly case: string
  readonly contender: string
}

const closed: ReadonlyArray<Measured> = [
  { text: "closed, in hand", case: "closed-consecutive", contender: "ours" },
  { text: "closed, by service", case: "closed-consecutive", contender: "ours-service" },
  { text: "closed, fresh context, in hand", case: "closed-fresh-context", contender: "ours" },
  { text: "closed, fresh context, by service", case: "closed-fresh-context", contender: "ours-service" }
]

// The floor keeps no window, so these have no bound against it.
const closedWithWindow: ReadonlyArray<Measured> = [
  { text: "closed, window, in hand", case: "closed-window", contender: "ours" },
  { text: "closed, window, by service", case: "closed-window", contender: "ours-service" }
]

const withTimeout: ReadonlyArray<Measured> = [
  { text: "timeout, in hand", case: "closed-timeout", contender: "ours" },
  { text: "timeout, by service", case: "closed-timeout", contender: "ours-service" },
  { text: "timeout, 1 call waiting", case: "timeout-1-waiting", contender: "ours" },
  { text: "timeout, 100 calls waiting", case: "timeout-100-waiting", contender: "ours" },
  { text: "timeout, 10,000 calls waiting", case: "timeout-10000-waiting", contender: "ours" }
]

const rejected: ReadonlyArray<Measured> = [
  { text: "rejection, in hand", case: "rejection", contender: "ours" },
  { text: "rejection, by service", case: "rejection", contender: "ours-service" }
]

const inFleet: ReadonlyArray<Measured> = [
  { text: "closed, in hand, in a fleet", case: "closed-synced", contender: "ours" },
  { text: "closed, by service, in a fleet", case: "closed-synced", contender: "ours-service" },
  { text: "closed, fresh context, in hand, in a fleet", case: "closed-fresh-context-synced", contender: "ours" },
  {
    text: "closed, fresh context, by service, in a fleet",
    case: "closed-fresh-context-synced",
    contender: "ours-service"
  },
  { text: "closed, window, in a fleet", case: "closed-window-synced", contender: "ours" },
  { text: "timeout, in a fleet", case: "closed-timeout-synced", contender: "ours" },
  { text: "rejection, in a fleet", case: "rejection-synced", contender: "ours" }
]

const metered: ReadonlyArray<Measured> = [
  { text: "closed, metrics that nobody scrapes", case: "closed-metrics", contender: "ours-metered" },
  { text: "closed, window, metrics that nobody scrapes", case: "closed-window-metrics", contender: "ours-metered" },
  { text: "rejection, metrics that nobody scrapes", case: "rejection-metrics", contender: "ours-metered" }
]

const throttled: ReadonlyArray<Measured> = [
  { text: "closed, with a throttle", case: "closed-throttle", contender: "ours-throttled" },
  { text: "closed, window, with a throttle", case: "closed-window-throttle", contender: "ours-throttled" }
]

/** The bounds on what was measured. */
export const boundsOf = (
  results: ReadonlyArray<Result>,
  memory: ReadonlyArray<MemoryResult>
): ReadonlyArray<Bound> => {
  const ofThisRun = (all: ReadonlyArray<Measured>) =>
    all.filter(({ case: name }) => results.some((result) => result.case === name))
  const added = (name: string, contender: string) =>
    results.find((result) => result.case === name && result.contender === contender)!.addedNs
  const bound = (text: string, measured: number, atMost: number, unit: Bound["unit"]): Bound => ({
    text,
    measured,
    atMost,
    unit,
    met: measured <= atMost
  })
  const against = (other: string, title: string, atMost: number) => ({ case: name, contender, text }: Measured) =>
    bound(`${text} / ${title}`, added(name, contender) / added(name, other), atMost, "×")
  const againstMemory = ({ case: name, contender, text }: Measured) =>
    bound(`${text} / on memory`, added(name, `${contender}-synced`) / added(name, `${contender}-alone`), 1.1, "×")
  const bytes = (text: string, name: string, atMost: number) => {
    const { bytesPerCircuit } = memory.find((result) => result.case === name && result.contender === "ours")!
    return bound(text, bytesPerCircuit, atMost, "B")
  }
  return [
    ...ofThisRun(closed).map(against("floor", "floor", 1.15)),
    ...ofThisRun([...closed, ...closedWithWindow]).map(against("cockatiel-effect", "cockatiel from Effect", 1 / 5)),
    ...ofThisRun([...closed, ...closedWithWindow]).map(against("effect", "Effect's own", 1 / 18)),
    ...ofThisRun(withTimeout).map(against("timeout-alone", "Effect.timeout alone", 0.6)),
    ...ofThisRun(rejected).map(against("cockatiel", "cockatiel", 1 / 12)),
    ...ofThisRun(inFleet).map(againstMemory),
    ...ofThisRun(metered).map(against("ours-unmetered", "without metrics", 1.05)),
    ...ofThisRun(throttled).map(against("ours-unthrottled", "without it", 1.25)),
    ...memory.length === 0 ? [] : [
      bytes("bytes of a circuit that never failed", "memory-consecutive-100k", 250),
      bytes("bytes of a circuit with a window of 60 s", "memory-window-100k", 1000)
    ]
  ]
}
