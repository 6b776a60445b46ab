/** How often two breakers agreed, and what is done where they did not. */
import * as Effect from "effect/Effect"
import * as Metric from "effect/Metric"
import { monotonicNow } from "../../internal/Clock.ts"
import { logged, unhandled } from "../../internal/Log.ts"
import { messages } from "../../internal/Messages.ts"
import type { CompareOptions, Mismatch } from "./CompareModel.ts"

const mismatches = Metric.counter("circuit_breaker.compare.mismatches", {
  description: "Calls about which two compared breakers disagreed",
  incremental: true
})

/** The least time between two lines about one circuit. */
const LOG_EVERY_MILLIS = 1000

export class Agreement {
  calls = 0
  decided = 0
  outcome = 0
  readonly #onMismatch: (mismatch: Mismatch) => Effect.Effect<void>
  #loggedAt = -Infinity
  #unlogged = 0

  constructor(onMismatch: CompareOptions["onMismatch"]) {
    this.#onMismatch = onMismatch ?? ((mismatch) => this.#log(mismatch))
  }

  /** Counts a call about which it is known what both decided. */
  compared(): void {
    this.calls++
  }

  mismatch(mismatch: Mismatch): Effect.Effect<void> {
    if (mismatch._tag === "Decided") this.decided++
    else this.outcome++
    const { _tag: kind, circuit, decides } = mismatch
    return Effect.andThen(
      Metric.update(Metric.withAttributes(mismatches, { circuit, decides, kind }), 1),
      Effect.catchCause(
        Effect.suspend(() => this.#onMismatch(mismatch)),
        (cause) => unhandled(messages.onMismatchFailed, cause)
      )
    )
  }

  #log({ _tag: kind, circuit, decides, new: newWord, old, reasons }: Mismatch): Effect.Effect<void> {
    return Effect.flatMap(monotonicNow, (now) => {
      if (now - this.#loggedAt < LOG_EVERY_MILLIS) {
        this.#unlogged++
        return Effect.void
      }
      const unlogged = this.#unlogged
      this.#loggedAt = now
      this.#unlogged = 0
      return logged(messages.breakersDisagree, {
        circuit,
        kind,
        decides,
        old,
        new: newWord,
        old_reason: reasons.old ?? "none",
        new_reason: reasons.new ?? "none",
        unlogged
      })
    })
  }
}
