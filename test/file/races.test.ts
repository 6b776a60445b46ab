/** Writers that are paused before each of their steps while others write. */
import { assert, describe, it } from "@effect/vitest"
import { Effect, Fiber, Latch } from "effect"
import { circuitOf, failures, times } from "../../src/conformance/Law.ts"
import { Circuits } from "../../src/file/Circuits.ts"
import { Directory } from "../../src/file/Directory.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import { clockAt, DIRECTORY, Disk, storageOn, type Weakness } from "./disk.ts"

const START = 1_700_000_000_000

const HOUR = 3_600_000

interface Schedule {
  /** Whether the circuit exists before the paused writer starts. */
  readonly exists: boolean
  /** How many reports another writer sends during the pause. */
  readonly others: number
  readonly backups: number
  /** Whether the circuit expires and is removed before the last of those reports. */
  readonly expires: boolean
  readonly weakness?: Weakness | undefined
}

/**
 * Pauses a report before its step number `pausedAt`. Returns the failures that are counted in the end, or `undefined`
 * if the report has fewer steps.
 */
const run = ({ backups, exists, expires, others, weakness }: Schedule, pausedAt: number) => {
  const time = clockAt(START)
  return Effect.gen(function*() {
    const disk = new Disk()
    const [paused, other] = [yield* storageOn(disk, { backups }), yield* storageOn(disk, { backups })]
    const cleaner = new Circuits(
      yield* Effect.provide(Directory.make(DIRECTORY, disk.removeEmptyDirectory), disk.layer),
      { backups, backupsForMillis: HOUR }
    )
    const theirs = circuitOf(other, "payments")
    const report = theirs.report(failures(1), { instance: "other" })
    if (exists) yield* report

    const [reached, resume] = [Latch.makeUnsafe(), Latch.makeUnsafe()]
    let steps = 0
    let isPaused = false
    disk.before = () => {
      if (isPaused || steps++ < pausedAt) return Effect.void
      isPaused = true
      disk.weakness = weakness
      return Effect.andThen(reached.open, resume.await)
    }
    const fiber = yield* Effect.forkChild(
      circuitOf(paused, "payments").report(failures(1), { instance: "paused" }),
      { startImmediately: true }
    )
    yield* Effect.race(reached.await, Fiber.await(fiber))
    if (!isPaused) return undefined
    for (const index of times(others)) {
      if (expires && index === others - 1) {
        time.advance(2 * HOUR)
        yield* cleaner.cleanUp
      }
      yield* report
    }
    yield* resume.open
    yield* Fiber.join(fiber)
    disk.weakness = undefined
    return (yield* theirs.read).lifetime.failure
  }).pipe(Effect.scoped, time.provide)
}

const countsOf = (schedule: Schedule) =>
  Effect.gen(function*() {
    const counts: Array<number> = []
    while (true) {
      const count = yield* run(schedule, counts.length)
      if (count === undefined) return counts
      counts.push(count)
    }
  })

describe("a writer that is paused at any of its steps", () => {
  for (const exists of [false, true]) {
    for (const backups of [0, 1, 3]) {
      for (const others of [1, 2, 3, 12]) {
        it(`a paused writer loses and undoes nothing: ${others} others, ${backups} backups, ${exists ? "not " : ""}the first`, () =>
          Effect.runPromise(Effect.map(countsOf({ exists, others, backups, expires: false }), (counts) => {
            assert.isAbove(counts.length, 10)
            assert.deepEqual(counts, counts.map(() => (exists ? 1 : 0) + others + 1))
          })))
      }
    }

    it(`a paused writer undoes nothing of a circuit that expired and is ${exists ? "there again" : "new"}`, () =>
      Effect.runPromise(Effect.map(countsOf({ exists, others: 3, backups: 1, expires: true }), (counts) => {
        assert.isAbove(counts.length, 10)
        // The paused report is either counted, or was removed with the expired circuit.
        for (const count of counts) assert.include([1, 2], count)
      })))
  }

  it("a paused writer that did not check the version it had read would lose reports", () =>
    Effect.runPromise(Effect.map(
      countsOf({ exists: true, others: 12, backups: 1, expires: false, weakness: "what was read once is there" }),
      (counts) => assert.include(counts, 13)
    )))
})

/**
 * Pauses a report before its step number `pausedAt`, and then a clean-up of old backups before its step
 * `cleanerPausedAt`. The report ends before the clean-up goes on. Returns the counted failures, or `false` if either
 * has fewer steps.
 */
const runBesideCleaner = (pausedAt: number, cleanerPausedAt: number) => {
  const time = clockAt(START)
  return Effect.gen(function*() {
    const disk = new Disk()
    const [paused, other] = [yield* storageOn(disk), yield* storageOn(disk)]
    const cleaner = new Circuits(
      yield* Effect.provide(Directory.make(DIRECTORY, disk.removeEmptyDirectory), disk.layer),
      { backups: 3, backupsForMillis: 60_000 }
    )
    const theirs = circuitOf(other, "payments")
    const report = theirs.report(failures(1), { instance: "other" })
    yield* report
    /**
     * Starts an effect, and returns once it is paused before its step `at` or has ended. `end` resumes the effect and
     * waits for it.
     */
    const begin = <A, E>(effect: Effect.Effect<A, E>, at: number) =>
      Effect.gen(function*() {
        const [reached, resume] = [Latch.makeUnsafe(), Latch.makeUnsafe()]
        let steps = 0
        disk.before = () => steps++ === at ? Effect.andThen(reached.open, resume.await) : Effect.void
        const fiber = yield* Effect.forkChild(effect, { startImmediately: true })
        yield* Effect.race(reached.await, Fiber.await(fiber))
        disk.before = () => Effect.void
        const isPaused = steps > at
        return { isPaused, end: Effect.andThen(resume.open, Fiber.join(fiber)) }
      })
    const writing = yield* begin(
      circuitOf(paused, "payments").report(failures(1), { instance: "paused" }),
      pausedAt
    )
    for (const _ of times(3)) yield* report
    time.advance(120_000)
    const cleaning = yield* begin(cleaner.cleanUp, cleanerPausedAt)
    yield* writing.end
    yield* cleaning.end
    if (!writing.isPaused || !cleaning.isPaused) return false
    return (yield* theirs.read).lifetime.failure
  }).pipe(Effect.scoped, time.provide)
}

describe("a writer and a clean-up that are paused at any of their steps", () => {
  it("a paused writer beside a paused clean-up loses and undoes nothing", () =>
    Effect.runPromise(Effect.gen(function*() {
      let runs = 0
      for (let writer = 0;; writer++) {
        let cleaner = 0
        for (;; cleaner++) {
          const count = yield* runBesideCleaner(writer, cleaner)
          if (count === false) break
          assert.strictEqual(count, 5, `writer at ${writer}, cleaner at ${cleaner}`)
          runs++
        }
        if (cleaner === 0) break
      }
      assert.isAbove(runs, 200)
    })))
})

describe("writers at once", () => {
  it("concurrent writers of three processes lose nothing, in any order of their steps", () =>
    Effect.runPromise(
      Effect.forEach(times(60), (seed) =>
        Effect.gen(function*() {
          const rng = new Rng(seed)
          const disk = new Disk()
          const backups = rng.pick([0, 1, 3])
          const storages = yield* Effect.forEach(times(3), () => storageOn(disk, { backups }))
          disk.before = () => Effect.repeat(Effect.yieldNow, { times: rng.int(0, 6) })
          yield* Effect.forEach(times(30), (index) =>
            Effect.andThen(
              Effect.repeat(Effect.yieldNow, { times: rng.int(0, 60) }),
              circuitOf(storages[index % 3]!, "payments").send({
                instance: `${index}`,
                sequence: 1,
                delta: failures(1)
              })
            ), { concurrency: "unbounded", discard: true })
          assert.strictEqual((yield* circuitOf(storages[0]!, "payments").read).lifetime.failure, 30, `seed ${seed}`)
        }).pipe(Effect.scoped, clockAt(START).provide), { discard: true })
    ))
})
