/** What a batch of reports makes of circuits: computed on what was read, so that it can be written at once. */
import { addCounts, type Bucket } from "../core/Buckets.ts"
import { add, isEmpty, noCounts } from "../core/Delta.ts"
import { type CircuitRecord, type Seen, type Snapshot, snapshot, unexpired } from "../core/Record.ts"
import { type Report, report, type Reported } from "../core/Report.ts"
import type { Circuit, StripeRow, WindowRow } from "./Circuits.ts"
import { enter, type Stripe } from "./Stripes.ts"

/** A report, and where it is counted. */
export interface Keyed extends Report {
  readonly key: string
  readonly stripe: number
}

export interface Answer {
  readonly reported: Reported
  readonly snapshot: Snapshot
}

/** A circuit while a batch is worked off: what one report adds, the next one sees. */
interface Current {
  readonly record: CircuitRecord | undefined
  readonly stripes: Map<number, Stripe>
}

export interface Batch {
  /** What becomes of a report; or why it cannot be counted: its rows must be made, or be deleted before. */
  readonly enter: (report: Keyed) => Answer | "missing" | "expired"
  readonly stripes: () => ReadonlyArray<StripeRow & { readonly stripe: Stripe }>
  readonly heard: () => ReadonlyArray<Seen & { readonly key: string }>
  readonly buckets: () => ReadonlyArray<WindowRow>
}

const placeOf = ({ index, key }: StripeRow): string => `${index} ${key}`

export const batchOf = (options: {
  readonly now: number
  readonly idleTimeToLive: number
  readonly circuits: ReadonlyMap<string, Circuit>
  readonly windows: ReadonlyMap<string, ReadonlyArray<Bucket>>
  readonly seen: ReadonlyArray<Seen & { readonly key: string }>
  readonly locked: ReadonlyArray<StripeRow>
}): Batch => {
  const { idleTimeToLive: idle, now } = options
  const locked = new Set(options.locked.map(placeOf))
  const seen = new Map<string, ReadonlyArray<Seen>>(Map.groupBy(options.seen, ({ key }) => key))
  const current = new Map<string, Current>()
  const stripes = new Map<string, StripeRow & { readonly stripe: Stripe }>()
  const heard: Array<Seen & { readonly key: string }> = []
  const buckets = new Map<string, WindowRow>()

  const circuitOf = (key: string): Current => {
    const known = current.get(key)
    if (known !== undefined) return known
    const { record, stripes } = options.circuits.get(key) ?? { record: undefined, stripes: new Map<number, Stripe>() }
    const window = options.windows.get(key) ?? []
    return { record: record === undefined ? undefined : { ...record, window }, stripes: new Map(stripes) }
  }

  const enterBuckets = ({ delta, key, stripe, withins }: Keyed) => {
    for (const bucket of addCounts([], delta.buckets, withins, now)) {
      const place = `${bucket.width} ${bucket.index} ${stripe} ${key}`
      buckets.set(place, { ...bucket, ...add(buckets.get(place) ?? noCounts, bucket), key, stripe })
    }
  }

  return {
    enter: (input) => {
      const { key, stripe: index, withins } = input
      const circuit = circuitOf(key)
      const record = unexpired(circuit.record, idle, now)
      const before = record === undefined ? undefined : { ...record, seen: seen.get(key) ?? [] }
      const { record: next, reported } = report(before, input, now, idle)
      const answer = { reported, snapshot: snapshot(next, withins, now, idle) }
      if (next === before || next === undefined) return answer
      if (record === undefined && circuit.record !== undefined) return "expired"
      if (!locked.has(placeOf({ key, index }))) return "missing"
      const isCurrent = input.generation === next.generation
      const stripe = enter(circuit.stripes, index, input.delta, isCurrent, now)
      circuit.stripes.set(index, stripe)
      stripes.set(placeOf({ key, index }), { key, index, stripe })
      const known = before?.seen ?? []
      heard.push(...next.seen.filter((entry) => !known.includes(entry)).map((entry) => ({ ...entry, key })))
      seen.set(key, next.seen)
      if (isCurrent) enterBuckets(input)
      current.set(key, { record: next, stripes: circuit.stripes })
      return answer
    },
    stripes: () => [...stripes.values()],
    heard: () => heard,
    buckets: () => [...buckets.values()]
  }
}

/** Whether a report is a look, which needs no lock. */
export const isLook = ({ delta }: Report): boolean => isEmpty(delta)
