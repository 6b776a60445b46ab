/** Random reports of several instances on one circuit, counted by a storage and by the pure record. */
import { assert } from "@effect/vitest"
import { Effect } from "effect"
import { type Circuit, failures, HOUR, MINUTE } from "../../src/conformance/Law.ts"
import { type Delta, shedCalls } from "../../src/core/Delta.ts"
import { type CircuitRecord, snapshot } from "../../src/core/Record.ts"
import { type Report, report } from "../../src/core/Report.ts"
import type { StorageMillis } from "../../src/core/Time.ts"

const WITHINS = [[], [MINUTE], [1000, 5000], [1000, 300_000], [30_000], [2000], [10_000, 20_000]]

export class RandomReports {
  record: CircuitRecord | undefined = undefined
  readonly #sequences: Array<number>
  readonly #mostShed: number
  #state = 7

  /** `mostShed` is the most shed calls of a bucket. */
  constructor(instances: number, mostShed = 0) {
    this.#sequences = Array.from({ length: instances }, () => 0)
    this.#mostShed = mostShed
  }

  /** A number from 0 to below `below`, the same in each run. */
  random(below: number): number {
    this.#state = (Math.imul(this.#state, 1_664_525) + 1_013_904_223) >>> 0
    return Math.floor(this.#state / 2 ** 32 * below)
  }

  get #withins(): ReadonlyArray<number> {
    return WITHINS[this.random(WITHINS.length)]!
  }

  get #delta(): Delta {
    const [success, failure] = [this.random(3), 1 + this.random(3)]
    return {
      ...failures(failure),
      buckets: Array.from({ length: this.random(4) }, (_, i) => ({
        age: (4 - i) * this.random(1500),
        success: this.random(5),
        failure: this.random(3),
        slow: this.random(2),
        ...shedCalls(this.random(this.#mostShed + 1))
      })).toSorted((a, b) => b.age - a.age),
      streak: { leading: failure, sawSuccess: success > 0, trailing: failure },
      lifetime: { ...failures(failure).lifetime, success, slow: this.random(2), lastSuccessAge: this.random(100) }
    }
  }

  /** The next report. One in ten has a sequence that was counted before. */
  next(): Report {
    const who = this.random(this.#sequences.length)
    const isRepeat = this.random(10) === 0 && this.#sequences[who]! > 0
    const sequence = isRepeat ? this.#sequences[who]! : ++this.#sequences[who]!
    return { instance: `instance ${who}`, sequence, generation: 0, delta: this.#delta, withins: this.#withins }
  }

  /** The storage answered a report at this time. */
  answered(sent: Report, at: StorageMillis): void {
    this.record = report(this.record, sent, at, HOUR).record
  }

  /** Fails unless the storage shows, sometimes a little later, what the record does. */
  check(it: Circuit, step: number) {
    return Effect.gen({ self: this }, function*() {
      if (this.random(4) === 0) yield* Effect.sleep(this.random(60))
      const withins = this.#withins
      const { snapshot: seen } = yield* it.send({ withins })
      const expected = snapshot(this.record, withins, seen.asOf, HOUR)
      const { lastFailureAge: _, lastSuccessAge: __, ...lifetime } = seen.lifetime
      assert.deepInclude(
        { streak: seen.streak, totals: seen.totals },
        { streak: expected.streak, totals: expected.totals },
        `step ${step}`
      )
      assert.deepInclude(expected.lifetime, lifetime, `step ${step}`)
    })
  }
}
