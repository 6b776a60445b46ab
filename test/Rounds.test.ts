import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import type { Connection } from "../src/internal/fleet/Connection.ts"
import { Batches, type Participant, Rounds } from "../src/internal/fleet/Rounds.ts"

/** A connection whose timers the test fires. */
const stopped = () => {
  const timers: Array<{ readonly at: number; readonly effect: Effect.Effect<void> }> = []
  const clock = { now: 0 }
  const connection = {
    isAway: false,
    now: () => clock.now,
    jitteredMillis: (millis: number) => millis,
    after: (millis: number, effect: Effect.Effect<void>) => void timers.push({ at: clock.now + millis, effect })
  }
  return { timers, clock, connection: connection as unknown as Connection }
}

describe("circuits that must not wait for the interval", () => {
  it.effect("may be as many as a process has: the next timer is for the earliest that is left", () =>
    Effect.gen(function*() {
      const { clock, connection, timers } = stopped()
      const rounds = new Rounds(connection, new Batches(connection), 60_000)
      let asked = 0
      const circuit = (): Participant => ({
        isSending: false,
        hears: false,
        beginReport: () => assert.fail("nobody waits"),
        nextReport: () => void asked++,
        answered: () => {}
      })
      rounds.hurry(circuit(), 10)
      for (let i = 0; i < 200_000; i++) rounds.hurry(circuit(), 1000 + i)
      const hurried = timers.find(({ at }) => at === 10)!
      clock.now = 10
      yield* hurried.effect
      assert.strictEqual(asked, 1)
      assert.strictEqual(timers.at(-1)!.at, 1000)
    }))
})
