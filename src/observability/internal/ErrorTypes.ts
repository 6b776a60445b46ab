/** A circuit's failures by the type of their error. There is a bound on the types, because errors come from anywhere. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import { type Attributes, counterOf, table } from "../../internal/MetricTable.ts"

/** The most types of a circuit. Beyond that, and where an error has no type, a failure is of `OTHER`. */
export const MOST_TYPES = 20

/** The name that OpenTelemetry gives to all other types. */
const OTHER = "_OTHER"

const MOST_CHARACTERS = 100

export class ErrorTypes {
  readonly #attributes: Attributes
  readonly #context: Context.Context<never>
  readonly #counters = new Map<string, Metric.Counter<number>>()

  constructor(attributes: Attributes, context: Context.Context<never>) {
    this.#attributes = attributes
    this.#context = context
  }

  add(error: unknown): void {
    const type = errorType(error)
    const counter = this.#counters.get(type) ?? this.#make(this.#counters.size < MOST_TYPES ? type : OTHER)
    counter.updateUnsafe(1, this.#context)
  }

  #make(type: string): Metric.Counter<number> {
    let counter = this.#counters.get(type)
    if (counter === undefined) {
      counter = counterOf(table.failures, { ...this.#attributes, "error.type": type })
      this.#counters.set(type, counter)
    }
    return counter
  }

  remove(): void {
    for (const counter of this.#counters.values()) Metric.removeUnsafe(counter, this.#context)
    this.#counters.clear()
  }
}

/** The `_tag` of an error, else the name of its class, else what kind of value it is. */
export const errorType = (error: unknown): string => {
  try {
    const { _tag, constructor } = Object(error) as {
      readonly _tag?: unknown
      readonly constructor?: { name?: unknown }
    }
    const name = typeof _tag === "string" ? _tag : constructor?.name
    const isTold = typeof name === "string" && name.trim() !== "" && name.length <= MOST_CHARACTERS
    return isTold ? name.toWellFormed() : OTHER
  } catch {
    // Reading a property of a hostile error may throw.
    return OTHER
  }
}
