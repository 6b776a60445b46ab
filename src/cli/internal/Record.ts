/**
 * `record`: what happens to circuits, as lines of JSON: how many calls ended in each interval and how, and each change. It is what
 * `what-if` replays.
 */
import * as Clock from "effect/Clock"
import * as Console from "effect/Console"
import * as Duration from "effect/Duration"
import * as Effect from "effect/Effect"
import * as Result from "effect/Result"
import * as Stream from "effect/Stream"
import type { Entry } from "../../Operator.ts"
import type { Snapshot } from "../../Storage/Storage.ts"
import { changeOf } from "./Output.ts"
import { type Flags, print, type Session, storageText, withStorage } from "./Session.ts"
import { isoOf, jsonOf } from "./Text.ts"

export interface RecordFlags {
  readonly prefix: string
  readonly everyMillis: number
  readonly forMillis: number | undefined
}

const COUNTS = ["success", "failure", "ignored", "timeout", "slow", "rejected"] as const

interface Known {
  readonly snapshot: Snapshot
  readonly at: number
}

/** The calls since the last look. Counts get smaller when a circuit is removed: then nothing is known. */
const countsSince = (circuit: string, before: Known, snapshot: Snapshot, now: number): ReadonlyArray<object> => {
  const counts = Object.fromEntries(
    COUNTS.map((key) => [key, Math.max(0, snapshot.lifetime[key] - before.snapshot.lifetime[key])])
  )
  return Object.values(counts).every((count) => count === 0)
    ? []
    : [{ at: isoOf(now), circuit, over: Math.max(1, now - before.at), ...counts }]
}

const MOST_CHANGES = 100

export const record = (flags: Flags, { everyMillis, forMillis, prefix }: RecordFlags) =>
  withStorage(flags, (session) => {
    const known = new Map<string, Known>()
    let hasBegun = false
    const lines = Stream.runForEach(
      session.operator.watch({ prefix, every: Duration.millis(everyMillis) }),
      (watched) => {
        if (watched._tag === "Unavailable") return Console.error(storageText(watched.error, session.secrets))
        // Counts are of whole intervals, and a change is found with the next of them.
        if (watched._tag === "Changed") return Effect.void
        const isFirst = !hasBegun
        hasBegun = true
        return Effect.flatMap(recorded(session, known, watched.entries), (lines) => {
          if (lines.length > 0) return print(lines.join("\n"))
          return isFirst
            ? Console.error(`Recording the circuits of ${session.operator.backend}, ${known.size} at the moment`)
            : Effect.void
        })
      }
    )
    return forMillis === undefined ? lines : Effect.raceFirst(lines, Effect.sleep(forMillis))
  })

const recorded = ({ operator }: Session, known: Map<string, Known>, entries: ReadonlyArray<Entry>) =>
  Effect.gen(function*() {
    const now = yield* Clock.currentTimeMillis
    const lines: Array<string> = []
    for (const { circuit, result } of entries) {
      if (Result.isFailure(result)) continue
      const snapshot = result.success
      const before = known.get(circuit)
      known.set(circuit, { snapshot, at: now })
      if (before === undefined) continue
      lines.push(...countsSince(circuit, before, snapshot, now).map((line) => jsonOf(line)))
      if (snapshot.generation === before.snapshot.generation || !operator.capabilities.history) continue
      const changes = yield* operator.history(circuit, { limit: MOST_CHANGES })
      lines.push(
        ...changes.filter(({ generation }) => generation > before.snapshot.generation).toReversed()
          .map((entry) => jsonOf(changeOf(circuit, entry)))
      )
    }
    return lines
  })
