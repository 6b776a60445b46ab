/**
 * All series of one circuit's name in this process: of one instance, of several as one, or of a keyed breaker's circuits as one.
 *
 * **Invariants**
 *
 * - There is one group for a name, because a second registration of a series replaces the first.
 * - What an instance has counted stays in the sums when it ends while others go on: a counter only grows as long as it is there.
 * - A scrape reads all series in the order in which they were registered, so that one pass over the circuits serves them all. A series
 *   that is read out of this order, or in a later turn of the event loop, is read anew.
 */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { Counts, stateName } from "../../internal/Counts.ts"
import type { CallOutcome, Listener } from "../../internal/Meter.ts"
import { type Attributes, counterOf, gaugeOf, table } from "../../internal/MetricTable.ts"
import { rateWindows, Reading, type Source as Circuits } from "../../internal/Reading.ts"
import { Durations } from "./Durations.ts"
import { ErrorTypes } from "./ErrorTypes.ts"
import type { Resolved } from "./Options.ts"
import { type Series, seriesOf, type Shape } from "./Series.ts"
import { turn } from "./Turn.ts"

/** An instance, a keyed breaker, or the circuit of one of its keys. */
export interface Source extends Circuits {
  readonly _tag: "Instance" | "Keys" | "Key"
  /** Counts from before the source was added, which are not exported. */
  readonly base?: Counts | undefined
}

const nothing = () => {}

/** Registers a series that `get` reads: the state of a counter, or of a gauge. */
export const register = (
  row: Series["row"],
  attributes: Attributes,
  context: Context.Context<never>,
  value: () => number
): Metric.Registration => {
  const hooks = (get: () => any) => ({ get, update: nothing, modify: nothing })
  return row.type === "counter"
    ? Metric.registerUnsafe(
      counterOf({ ...row, type: row.type }, attributes),
      context,
      hooks(() => ({ count: value(), incremental: true }))
    )
    : Metric.registerUnsafe(gaugeOf({ ...row, type: row.type }, attributes), context, hooks(() => ({ value: value() })))
}

export class Group {
  readonly #context: Context.Context<never>
  readonly #options: Resolved
  readonly #name: string
  readonly #sources = new Map<Source, Listener>()
  /** The counts of sources that have ended. */
  readonly #ended = new Counts()
  #registrations: ReadonlyArray<Metric.Registration> = []
  #shape: Shape | undefined = undefined
  #reading = new Reading()
  /** The place of the series that is read next in this pass, and the turn of the event loop in which it began. */
  #next = 0
  #turn = -1
  #code: { readonly previous: string; readonly registration: Metric.Registration } | undefined = undefined
  readonly #durations: Durations | undefined
  readonly #errors: ErrorTypes | undefined

  constructor(name: string, context: Context.Context<never>, options: Resolved) {
    this.#context = context
    this.#options = options
    this.#name = name
    const attributes = { circuit: name, ...options.attributes }
    this.#durations = options.boundaries && new Durations(options.boundaries, attributes, context)
    this.#errors = options.errors ? new ErrorTypes(attributes, context) : undefined
  }

  get isEmpty(): boolean {
    return this.#sources.size === 0
  }

  add(source: Source): void {
    const listener = this.#listenerOf(source)
    this.#sources.set(source, listener)
    source.shared.meter.add(listener)
    if (listener.took !== undefined) setTimed(source)
    this.#register()
  }

  remove(source: Source): void {
    const listener = this.#sources.get(source)
    if (listener === undefined) return
    this.#sources.delete(source)
    source.shared.meter.delete(listener)
    if (listener.took !== undefined) setTimed(source)
    this.#ended.add(countsOf(source))
    this.#register()
    if (!this.isEmpty) return
    this.#durations?.remove()
    this.#errors?.remove()
  }

  /** The durations and errors of a key are those of its breaker. */
  #listenerOf({ _tag }: Source): Listener {
    const isKey = _tag === "Key"
    const durations = isKey ? undefined : this.#durations
    const errors = isKey ? undefined : this.#errors
    durations?.begin()
    return {
      took: durations && ((outcome: CallOutcome, millis: number) => durations.add(outcome, millis)),
      failed: errors && ((error: unknown) => errors.add(error)),
      // The policy decides which series there are.
      reconfigured: () => this.#register(),
      moved: _tag === "Keys" || !this.#options.stateCode ? undefined : () => this.#registerCode()
    }
  }

  // -----------------------------------------------------------------------------
  // registering
  // -----------------------------------------------------------------------------

  #register(): void {
    for (const registration of this.#registrations) registration.remove()
    const shape = this.#shape = shapeOf([...this.#sources.keys()])
    const series = this.isEmpty ? [] : seriesOf(shape)
    this.#registrations = series.map(({ attributes, read, row }, place) =>
      register(row, this.#attributesOf(row, attributes), this.#context, () => read(this.#readAt(place)))
    )
    this.#registerCode()
  }

  #attributesOf({ subject }: Series["row"], attributes: Attributes): Attributes {
    return { [subject ?? "circuit"]: this.#name, ...attributes, ...this.#options.attributes }
  }

  /** The state before is an attribute, so each change of state makes another series. */
  #registerCode(): void {
    const isWanted = this.#options.stateCode && !this.isEmpty && this.#shape?.isSum !== true
    const { previous: state } = isWanted ? this.#read() : { previous: undefined }
    const previous = state === undefined ? "none" : stateName(state)
    if (isWanted && this.#code?.previous === previous) return
    this.#code?.registration.remove()
    const attributes = this.#attributesOf(table.stateCode, { previous_state: previous })
    const code = () => this.#read().stateCode
    this.#code = isWanted
      ? { previous, registration: register(table.stateCode, attributes, this.#context, code) }
      : undefined
  }

  // -----------------------------------------------------------------------------
  // reading
  // -----------------------------------------------------------------------------

  #readAt(place: number): Reading {
    const now = turn()
    if (place === 0 || place !== this.#next || this.#turn !== now) this.#reading = this.#read()
    this.#next = place + 1
    this.#turn = now
    return this.#reading
  }

  #read(): Reading {
    const reading = new Reading()
    reading.counts.add(this.#ended)
    for (const source of this.#sources.keys()) {
      reading.add(source)
      if (source._tag === "Keys") reading.counts.add(source.shared.meter.gone)
      if (source.base !== undefined) reading.counts.add(source.base, -1)
    }
    return reading
  }
}

/** All that a source has counted. */
export const countsOf = ({ _tag, base, circuits, shared }: Source): Counts => {
  const counts = new Counts()
  for (const circuit of circuits()) counts.addCircuit(circuit)
  if (_tag === "Keys") counts.add(shared.meter.gone)
  if (base !== undefined) counts.add(base, -1)
  return counts
}

const setTimed = ({ circuits }: Source): void => {
  for (const circuit of circuits()) circuit.setTimed()
}

const shapeOf = (sources: ReadonlyArray<Source>): Shape => {
  const all = sources.map(({ shared }) => shared)
  const windows = all.map(rateWindows)
  return {
    isSum: sources.some(({ _tag }) => _tag === "Keys"),
    countsSlow: all.some(({ slowerThanMillis }) => slowerThanMillis !== undefined),
    hasLimit: all.some(({ maxConcurrent }) => maxConcurrent !== undefined),
    hasThrottle: all.some(({ throttle }) => throttle !== undefined),
    hasFleet: all.some(({ fleet }) => fleet !== undefined),
    failureWindows: [...new Set(windows.flatMap(({ failure }) => [...failure]))],
    slowWindows: [...new Set(windows.flatMap(({ slow }) => [...slow]))]
  }
}
