/**
 * Scripted traffic, the same through any breaker.
 *
 * `S` is a call that succeeds, `F` one that fails, `I` one whose error is the caller's own. `10s` and `500ms` let time pass. `(a` begins a
 * call that `a)S`, `a)F` or `a)I` ends. What is decided is a letter for each call, in the order in which they begin: `r` ran, `x` was
 * rejected, `w` waited and ran later.
 */
import { Duration, Effect } from "effect"
import { TestClock } from "effect/testing"
import { vi } from "vitest"
import { untilQuiet } from "../utils.ts"

export type End = "S" | "F" | "I"

/** Tries a call: `begin` is called when it runs, and the promise that it returns ends as the call does. */
export type Attempt = (begin: () => Promise<void>) => Promise<unknown>

/** The error of a call. */
export class TrafficError extends Error {
  readonly isMine: boolean
  constructor(end: "F" | "I") {
    super(end)
    this.isMine = end === "I"
  }
}

interface Started {
  decision: "r" | "x" | "w" | "?"
  readonly end: (end: End) => void
}

const start = (attempt: Attempt): Started => {
  let end!: (end: End) => void
  const ending = new Promise<void>((resolve, reject) => {
    end = (as) => as === "S" ? resolve() : reject(new TrafficError(as))
  })
  ending.catch(() => {})
  const call: Started = { decision: "?", end }
  const decide = (decision: "r" | "x"): void => {
    if (call.decision === "?") call.decision = decision
  }
  const begin = (): Promise<void> => {
    decide("r")
    return ending
  }
  const over = (): void => decide("x")
  attempt(begin).then(over, over)
  return call
}

/** Lets everything happen that can happen now, by both clocks. */
const settle = Effect.andThen(
  Effect.promise(() => vi.advanceTimersByTimeAsync(0)),
  untilQuiet
)

/** Plays traffic and returns the decisions. Needs faked timers. */
export const play = (attempt: Attempt, traffic: string): Effect.Effect<string> =>
  Effect.gen(function*() {
    const calls: Array<Started> = []
    const named = new Map<string, Started>()
    const begin = Effect.suspend(() => {
      const call = start(attempt)
      calls.push(call)
      return Effect.map(settle, () => {
        // It waits for something that is still to come.
        if (call.decision === "?") call.decision = "w"
        return call
      })
    })
    for (const token of traffic.split(" ")) {
      const [, begun, ended, as] = /^(?:\((\w)|(\w)\)([SFI]))$/.exec(token) ?? []
      if (begun !== undefined) named.set(begun, yield* begin)
      else if (ended !== undefined) named.get(ended)!.end(as as End)
      else if (/^[SFI]$/.test(token)) (yield* begin).end(token as End)
      else {
        const wait = Duration.fromInputUnsafe(
          token.replace(
            /^(\d+)(ms|s)$/,
            (_, n, unit) => `${n} ${unit === "s" ? "seconds" : "millis"}`
          ) as Duration.Input
        )
        yield* Effect.promise(() => vi.advanceTimersByTimeAsync(Duration.toMillis(wait)))
        yield* TestClock.adjust(wait)
      }
      yield* settle
    }
    return calls.map(({ decision }) => decision).join("")
  })
