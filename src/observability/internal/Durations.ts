/** The histogram of a circuit's call durations, by outcome. */
import type * as Context from "effect/Context"
import * as Metric from "effect/Metric"
import type { CallOutcome } from "../../internal/Meter.ts"
import { type Attributes, histogramOf, table } from "../../internal/MetricTable.ts"

const OUTCOMES = ["success", "failure", "timeout", "ignored"] as const

export class Durations {
  readonly #context: Context.Context<never>
  readonly #histograms: Readonly<Record<CallOutcome, Metric.Histogram<number>>>

  /** `boundaries` in seconds. */
  constructor(boundaries: ReadonlyArray<number>, attributes: Attributes, context: Context.Context<never>) {
    this.#context = context
    const of = (outcome: CallOutcome) => histogramOf(table.callDuration, boundaries, { ...attributes, outcome })
    this.#histograms = {
      success: of("success"),
      failure: of("failure"),
      timeout: of("timeout"),
      ignored: of("ignored")
    }
  }

  /** Makes all series, without a call in them. */
  begin(): void {
    for (const outcome of OUTCOMES) this.#histograms[outcome].valueUnsafe(this.#context)
  }

  add(outcome: CallOutcome, millis: number): void {
    this.#histograms[outcome].updateUnsafe(millis / 1000, this.#context)
  }

  remove(): void {
    for (const outcome of OUTCOMES) Metric.removeUnsafe(this.#histograms[outcome], this.#context)
  }
}
