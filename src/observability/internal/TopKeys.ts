/**
 * The circuits of a keyed breaker that have series of their own: a bounded number, chosen anew from time to time, so that a
 * key is not a series.
 */
import type { Circuit } from "../../internal/Circuit.ts"
import type { Counts } from "../../internal/Counts.ts"
import type { Listener } from "../../internal/Meter.ts"
import { recentTrouble } from "../../internal/Reading.ts"
import { countsOf, type Source } from "./Group.ts"

/** Where a circuit's series are put, and taken away. */
interface Groups {
  readonly add: (name: string, source: Source) => void
  readonly remove: (name: string, source: Source) => void
}

interface Ranked {
  readonly circuit: Circuit
  readonly rank: number
}

export class TopKeys {
  readonly #keys: Source
  readonly #most: number
  readonly #groups: Groups
  readonly #shown = new Map<Circuit, Source>()
  /**
   * The counts of circuits when their series were removed. Their next series begin there, because an exporter of differences
   * has told all before.
   */
  readonly #told = new WeakMap<Circuit, Counts>()
  readonly #listener: Listener = {
    evicted: (circuit) => this.#hide(circuit as Circuit)
  }

  /** `keys`: the circuits to choose from, at most `most`. */
  constructor(keys: Source, most: number, groups: Groups) {
    this.#keys = keys
    this.#most = most
    this.#groups = groups
    keys.shared.meter.add(this.#listener)
  }

  choose(): void {
    const top = new Set(worst(this.#keys, this.#most))
    for (const circuit of this.#shown.keys()) if (!top.has(circuit)) this.#hide(circuit)
    for (const circuit of top) if (!this.#shown.has(circuit)) this.#show(circuit)
  }

  close(): void {
    this.#keys.shared.meter.delete(this.#listener)
    for (const circuit of this.#shown.keys()) this.#hide(circuit)
  }

  #show(circuit: Circuit): void {
    const source: Source = {
      ...this.#keys,
      _tag: "Key",
      circuits: () => [circuit],
      base: this.#told.get(circuit)
    }
    this.#shown.set(circuit, source)
    this.#groups.add(circuit.name, source)
  }

  #hide(circuit: Circuit): void {
    const source = this.#shown.get(circuit)
    if (source === undefined) return
    this.#shown.delete(circuit)
    this.#told.set(circuit, countsOf({ ...source, base: undefined }))
    this.#groups.remove(circuit.name, source)
  }
}

/** Those that are not closed first, then those with the most failures. A circuit without either is not among them. */
const worst = ({ circuits, shared }: Source, most: number): ReadonlyArray<Circuit> => {
  const now = shared.ticker.exact()
  const top: Array<Ranked> = []
  for (const circuit of circuits()) {
    // Most of 100,000 circuits never failed.
    if (!circuit.hadTrouble && circuit.isClosed()) continue
    const rank = circuit.isClosed() ? recentTrouble(circuit, now) : Infinity
    if (rank === 0 || (top.length === most && rank <= top.at(-1)!.rank)) continue
    const place = top.findIndex((other) => rank > other.rank)
    top.splice(place === -1 ? top.length : place, 0, { circuit, rank })
    if (top.length > most) top.pop()
  }
  return top.map(({ circuit }) => circuit)
}
