/** The state of the circuits, and the gateway's recent answers, for the screen. */
import { Array, Clock, Context, Duration, Effect, Layer } from "effect"
import type { Breaker } from "../../src/index.ts"
import { Offers, Orders, Search } from "./Shop.ts"
import { type Mode, Upstream } from "./Upstream.ts"

export interface Answers {
  readonly ok: number
  readonly failed: number
  readonly timedOut: number
  readonly refused: number
  /** The share of the calls that got through and succeeded. */
  readonly served: number
  readonly medianMillis: number | undefined
  readonly slowestMillis: number | undefined
}

export interface Report {
  readonly upstream: Mode
  readonly circuits: ReadonlyArray<{ readonly snapshot: Breaker.Snapshot; readonly answers: Answers }>
}

interface Answer {
  readonly at: number
  readonly circuit: string
  readonly status: number
  readonly millis: number
}

/** For how long an answer counts as recent. */
export const lately = Duration.seconds(10)

/** The recent answers of the gateway, because a breaker measures no latency. */
export class AnswerLog extends Context.Service<AnswerLog, {
  readonly add: (circuit: string, status: number, took: Duration.Duration) => Effect.Effect<void>
  readonly of: (circuit: string) => Effect.Effect<Answers>
}>()("gateway/AnswerLog") {
  static readonly layer = Layer.sync(AnswerLog, () => {
    let answers: ReadonlyArray<Answer> = []
    const recent = Effect.map(Clock.currentTimeMillis, (now) => {
      answers = answers.filter(({ at }) => now - at < Duration.toMillis(lately))
      return { now, answers }
    })
    return AnswerLog.of({
      add: (circuit, status, took) =>
        Effect.map(recent, ({ now }) => {
          answers = [...answers, { at: now, circuit, status, millis: Duration.toMillis(took) }]
        }),
      of: (circuit) =>
        Effect.map(recent, ({ answers }) => sumUp(answers.filter((answer) => answer.circuit === circuit)))
    })
  })
}

const sumUp = (answers: ReadonlyArray<Answer>): Answers => {
  const millis = answers.map((answer) => answer.millis).sort((a, b) => a - b)
  const count = (...statuses: ReadonlyArray<number>) => answers.filter(({ status }) => statuses.includes(status)).length
  const tenth = (value: number | undefined) => value === undefined ? undefined : Math.round(value * 10) / 10
  return {
    ok: count(200),
    failed: count(502),
    timedOut: count(504),
    refused: count(503),
    served: answers.length === 0 ? 1 : count(200) / answers.length,
    medianMillis: tenth(millis[Math.floor(millis.length / 2)]),
    slowestMillis: tenth(millis.at(-1))
  }
}

export const report: Effect.Effect<Report, never, Orders | Search | Offers | Upstream | AnswerLog> = Effect.gen(
  function*() {
    const upstream = yield* Upstream
    const log = yield* AnswerLog
    const snapshots = [
      yield* (yield* Orders).snapshot,
      yield* (yield* Search).snapshot,
      yield* (yield* Offers).snapshot
    ]
    const answers = yield* Effect.forEach(snapshots, ({ circuit }) => log.of(circuit))
    return {
      upstream: yield* upstream.mode,
      circuits: Array.zipWith(snapshots, answers, (snapshot, answers) => ({ snapshot, answers }))
    }
  }
)
