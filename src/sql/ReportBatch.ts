/**
 * A batch of reports, computed in memory on the view that was read, so that it can be written at once.
 *
 * **Invariants**
 *
 * - Each report sees all that earlier reports of the batch have added, as if they had been written one by one.
 * - Only a report whose stripe is held changes anything. One whose circuit or stripe has no rows yet is `missing`, and
 *   one whose circuit has expired is `expired`; both leave the batch as it was.
 * - `#current` and `#seen` are what the next report sees. `#stripes` and `#added` are what is to be written, and `calls` are the alerts
 *   that are to be called once it is.
 */
import { isEmpty, noDelta } from "../core/Delta.ts"
import { type CircuitRecord, type Seen, type Snapshot, snapshot, unexpired } from "../core/Record.ts"
import { arrived, type Report, report, type Reported } from "../core/Report.ts"
import type { Call } from "./Bells.ts"
import type { StripeRow } from "./Locks.ts"
import type { Members } from "./Members.ts"
import { additionOf, enter, type Stripes } from "./Stripes.ts"
import type { SeenRow, StoredCircuit, View } from "./View.ts"
import type { Counted } from "./Write.ts"

/** A report, with the key of its circuit and the stripe of its instance. */
export interface KeyedReport extends Report {
  readonly circuit: string
  readonly key: string
  readonly stripe: number
}

export interface Answer {
  readonly reported: Reported
  readonly snapshot: Snapshot
}

/** A circuit as the reports of the batch have left it. */
interface Current {
  readonly record: CircuitRecord | undefined
  readonly stripes: () => Stripes
}

/** Most stripes are not needed: the database adds the report, and no other report of the batch is on the circuit. */
const whenNeeded = <A>(make: () => A): () => A => {
  let made: A | undefined
  return () => made ??= make()
}

/** Whether a report is a pure read, which needs no lock. */
export const isRead = ({ delta }: Report): boolean => isEmpty(delta)

const idOf = ({ index, key }: StripeRow): string => `${index} ${key}`

export class ReportBatch {
  readonly calls: Array<Call> = []
  readonly #nowMillis: number
  readonly #idleMillis: number
  readonly #locked: ReadonlySet<string>
  readonly #members: Pick<Members, "of">
  readonly #seen: Map<string, ReadonlyArray<Seen>>
  readonly #current = new Map<string, Current>()
  readonly #stripes = new Map<string, Counted["stripes"][number]>()
  readonly #added: Array<SeenRow> = []

  constructor({ circuits, idleMillis, locked, members, view }: {
    readonly view: Pick<View, "nowMillis" | "seen">
    readonly circuits: ReadonlyMap<string, StoredCircuit>
    readonly locked: ReadonlyArray<StripeRow>
    readonly members: Pick<Members, "of">
    readonly idleMillis: number
  }) {
    this.#nowMillis = view.nowMillis
    this.#idleMillis = idleMillis
    this.#locked = new Set(locked.map(idOf))
    this.#members = members
    this.#seen = new Map(Map.groupBy(view.seen, ({ key }) => key))
    for (const [key, { record, stripes }] of circuits) this.#current.set(key, { record, stripes: () => stripes })
  }

  /** Counts a report, or says why it cannot be counted yet: its rows must be made, or deleted, before. */
  enter(input: KeyedReport): Answer | "missing" | "expired" {
    const { key, stripe: index, withins } = input
    const [nowMillis, idleMillis] = [this.#nowMillis, this.#idleMillis]
    const current: Current = this.#current.get(key) ?? { record: undefined, stripes: () => new Map() }
    const record = unexpired(current.record, idleMillis, nowMillis)
    const seen = this.#seen.get(key) ?? []
    const before = record === undefined ? undefined : { ...record, seen }
    const { record: counted, reported } = report(before, { ...input, suspect: undefined }, nowMillis, idleMillis)
    const { record: next } = report(counted, { ...input, delta: noDelta }, nowMillis, idleMillis)
    const answer = { reported, snapshot: this.#snapshotOf(key, next, withins) }
    if (next === undefined) return answer
    if (counted === before) {
      this.#call(input, next, counted)
      return answer
    }
    if (record === undefined && current.record !== undefined) return "expired"
    if (!this.#locked.has(idOf({ key, index }))) return "missing"
    this.#call(input, next, counted)
    const isCurrent = input.generation === next.generation
    const sent = { delta: arrived(input, nowMillis), withins }
    const stripe = whenNeeded(() => enter(current.stripes(), index, sent, isCurrent, nowMillis))
    const addition = additionOf(current.stripes(), index, sent, isCurrent, nowMillis)
    this.#current.set(key, { record: next, stripes: whenNeeded(() => new Map(current.stripes()).set(index, stripe())) })
    this.#stripes.set(idOf({ key, index }), { key, index, stripe, addition })
    this.#added.push(
      ...next.seen.filter((message) => before?.seen.includes(message) !== true).map((message) => ({ ...message, key }))
    )
    this.#seen.set(key, next.seen)
    return answer
  }

  #snapshotOf(key: string, record: CircuitRecord | undefined, withins: ReadonlyArray<number>): Snapshot {
    const view = snapshot(record, withins, this.#nowMillis, this.#idleMillis)
    const members = Math.max(this.#members.of(key) ?? 0, view.members ?? 0)
    return members === 0 ? view : { ...view, members }
  }

  /** Notes an alert that the report begins or makes longer. */
  #call({ circuit, key, suspect = 0 }: KeyedReport, next: CircuitRecord, counted: CircuitRecord | undefined): void {
    if (next === counted) return
    this.calls.push({
      circuit,
      key,
      generation: next.generation,
      at: this.#nowMillis,
      until: this.#nowMillis + suspect
    })
    const { record: _, ...current } = this.#current.get(key)!
    this.#current.set(key, { ...current, record: next })
  }

  /** Everything that has changed, to be written. */
  counted(): Counted {
    return { stripes: [...this.#stripes.values()], seen: this.#added }
  }
}
