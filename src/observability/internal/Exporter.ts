/**
 * All series of the breakers of a process, from when a breaker is made until its scope closes.
 *
 * **Invariant**: a breaker in `#ends` has its series, and what is there undoes all that was done for it.
 */
import * as Cause from "effect/Cause"
import type * as Context from "effect/Context"
import type * as Metric from "effect/Metric"
import { makeFork } from "../../internal/Fork.ts"
import { unhandled } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import { table } from "../../internal/MetricTable.ts"
import type { Change, Entry } from "../../internal/Registered.ts"
import { Group, register, type Source } from "./Group.ts"
import type { Resolved } from "./Options.ts"
import { TopKeys } from "./TopKeys.ts"

/** The breakers on the storages of one name, and their series. */
interface Backend {
  readonly breakers: Set<Entry>
  readonly registrations: ReadonlyArray<Metric.Registration>
}

export class Exporter {
  readonly #context: Context.Context<never>
  readonly #options: Resolved
  readonly #groups = new Map<string, Group>()
  readonly #backends = new Map<string, Backend>()
  readonly #tops = new Set<TopKeys>()
  readonly #ends = new Map<Entry, () => void>()

  constructor(context: Context.Context<never>, options: Resolved) {
    this.#context = context
    this.#options = options
  }

  readonly changed = ({ _tag, entry }: Change): void => {
    if (_tag === "Added") this.#add(entry)
    else this.#remove(entry)
  }

  /** Chooses the keys anew that have series of their own. */
  chooseTops(): void {
    for (const top of this.#tops) top.choose()
  }

  close(): void {
    for (const entry of this.#ends.keys()) this.#remove(entry)
  }

  #remove(entry: Entry): void {
    this.#ends.get(entry)?.()
    this.#ends.delete(entry)
  }

  #add(entry: Entry): void {
    const { keyed, top } = this.#options
    if (!this.#includes(entry.name) || (entry.isKeyed && keyed === "none")) return
    const source = sourceOf(entry)
    this.#addSource(entry.name, source)
    this.#addToBackend(entry)
    const keys = entry.isKeyed && top > 0 ? this.#addTop(source, top) : undefined
    this.#ends.set(entry, () => {
      if (keys !== undefined) {
        keys.close()
        this.#tops.delete(keys)
      }
      this.#removeFromBackend(entry)
      this.#removeSource(entry.name, source)
    })
  }

  /** A breaker is being made here, which must not fail because of what is exported of it. */
  #includes(name: string): boolean {
    try {
      return this.#options.include(name)
    } catch (defect) {
      makeFork(this.#context)(unhandled(messages.includeFailed, Cause.die(defect)))
      return true
    }
  }

  #addTop(source: Source, most: number): TopKeys {
    const keys = new TopKeys(source, most, {
      add: (name, source) => this.#addSource(name, source),
      remove: (name, source) => this.#removeSource(name, source)
    })
    this.#tops.add(keys)
    keys.choose()
    return keys
  }

  #addSource(name: string, source: Source): void {
    let group = this.#groups.get(name)
    if (group === undefined) this.#groups.set(name, group = new Group(name, this.#context, this.#options))
    group.add(source)
  }

  #removeSource(name: string, source: Source): void {
    const group = this.#groups.get(name)
    group?.remove(source)
    if (group?.isEmpty === true) this.#groups.delete(name)
  }

  #addToBackend(entry: Entry): void {
    if (entry.made.shared.fleet === undefined) return
    let backend = this.#backends.get(entry.backend)
    if (backend === undefined) {
      const breakers = new Set<Entry>()
      const attributes = { backend: entry.backend, ...this.#options.attributes }
      const fleets = () => breakers.values().map(({ made }) => made.shared.fleet!)
      const isAway = () => fleets().some((fleet) => fleet.isAway())
      const slowdown = () => Math.max(1, ...fleets().map((fleet) => fleet.slowdown()))
      const registrations = [
        register(table.fleetReachable, attributes, this.#context, () => isAway() ? 0 : 1),
        register(table.fleetSlowdown, attributes, this.#context, slowdown)
      ]
      this.#backends.set(entry.backend, backend = { breakers, registrations })
    }
    backend.breakers.add(entry)
  }

  #removeFromBackend(entry: Entry): void {
    const backend = this.#backends.get(entry.backend)
    backend?.breakers.delete(entry)
    if (backend?.breakers.size !== 0) return
    for (const registration of backend.registrations) registration.remove()
    this.#backends.delete(entry.backend)
  }
}

const sourceOf = ({ isKeyed, made: { bypasses, circuits, shared } }: Entry): Source => ({
  _tag: isKeyed ? "Keys" : "Instance",
  shared,
  bypasses,
  circuits: () => circuits.all()
})
