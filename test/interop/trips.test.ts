import { assert, describe, it } from "@effect/vitest"
import { CircuitBreaker } from "effect/persistence"
import { firstTrip, LastCalls, type Outcome, reportable } from "../../src/interop/internal/EffectTrips.ts"

/** Numbers from 0 to 1, always the same. */
const randomFrom = (seed: number) => () => {
  seed = (seed * 1103515245 + 12345) % 2 ** 31
  return seed / 2 ** 31
}

/** Which of the outcomes trips, judged one by one. */
const naive = (policy: CircuitBreaker.TripPolicy, failed: ReadonlyArray<boolean>): number =>
  failed.findIndex((_, last) => {
    const all = failed.slice(0, last + 1)
    if (policy._tag === "Consecutive") {
      return all.length >= policy.failures && all.slice(-policy.failures).every((isFailure) => isFailure)
    }
    const ring = all.slice(-policy.size)
    const failures = ring.filter((isFailure) => isFailure).length
    return ring.length >= policy.minimumCalls && failures > 0 && failures / ring.length >= policy.threshold
  })

const outcomesOf = (tripPolicy: CircuitBreaker.TripPolicy, failed: ReadonlyArray<boolean>, generation = 1) =>
  failed.map((isFailure): Outcome => ({ isFailure, generation, tripPolicy }))

/** Which of the outcomes trips, reported in batches of a random size to a storage that adds them up. */
const batched = (policy: CircuitBreaker.TripPolicy, failed: ReadonlyArray<boolean>, random: () => number): number => {
  const lastCalls = new LastCalls(1)
  const totals = { success: 0, failure: 0 }
  let streak = 0
  let done = 0
  while (done < failed.length) {
    const waiting = outcomesOf(policy, failed.slice(done, done + 1 + Math.floor(random() * 6)))
    const batch = waiting.slice(0, reportable(waiting))
    for (const { isFailure } of batch) {
      streak = isFailure ? streak + 1 : 0
      totals[isFailure ? "failure" : "success"]++
    }
    const trip = firstTrip(batch, { streak, totals: policy._tag === "Rate" ? { ...totals } : undefined }, lastCalls)
    if (trip !== undefined) return done + trip.index
    done += batch.length
  }
  return -1
}

describe("outcomes that are reported together", () => {
  it("trip where they would have one by one", () => {
    let trips = 0
    for (let seed = 1; seed <= 3000; seed++) {
      const random = randomFrom(seed)
      const size = 1 + Math.floor(random() * 8)
      const policy = random() < 0.5
        ? CircuitBreaker.consecutive(1 + Math.floor(random() * 4))
        : CircuitBreaker.rate({ threshold: random(), size, minimumCalls: 1 + Math.floor(random() * size) })
      const share = random()
      const failed = Array.from({ length: 30 }, () => random() < share)
      const expected = naive(policy, failed)
      if (expected !== -1) trips++
      assert.strictEqual(batched(policy, failed, random), expected, `seed ${seed}`)
    }
    assert.isAbove(trips, 1000)
  })

  it("are of one generation, and a success after leading failures waits for the next report", () => {
    const policy = CircuitBreaker.consecutive(3)
    assert.strictEqual(reportable([]), 0)
    assert.strictEqual(reportable(outcomesOf(policy, [true, true, false, true])), 2)
    assert.strictEqual(reportable(outcomesOf(policy, [false, true, false, true])), 4)
    assert.strictEqual(reportable([...outcomesOf(policy, [false]), ...outcomesOf(policy, [false], 2)]), 1)
  })
})

describe("the last calls of other processes", () => {
  const policy = { _tag: "Rate", threshold: 0.5, minimumCalls: 4, size: 4 } as const

  it("are known by how much the totals have grown", () => {
    const lastCalls = new LastCalls(1)
    assert.isUndefined(
      firstTrip(outcomesOf(policy, [false]), { streak: 0, totals: { success: 1, failure: 1 } }, lastCalls)
    )
    const trip = firstTrip(outcomesOf(policy, [false]), { streak: 0, totals: { success: 2, failure: 2 } }, lastCalls)
    assert.deepStrictEqual(trip, { index: 0, reason: "2 of the last 4 calls failed" })
  })

  it("of more than fit the share that failed is kept", () => {
    const of = (failure: number) =>
      firstTrip(
        outcomesOf(policy, [true]),
        { streak: 1, totals: { success: 1000 - failure, failure: failure + 1 } },
        new LastCalls(1)
      )
    assert.isUndefined(of(100))
    assert.strictEqual(of(600)?.reason, "2 of the last 4 calls failed")
  })

  it("that have left the storage's window take nothing away", () => {
    const lastCalls = new LastCalls(1)
    firstTrip(outcomesOf(policy, [false, false]), { streak: 0, totals: { success: 50, failure: 1 } }, lastCalls)
    assert.isUndefined(
      firstTrip(outcomesOf(policy, [true]), { streak: 1, totals: { success: 3, failure: 1 } }, lastCalls)
    )
    const trip = firstTrip(outcomesOf(policy, [true]), { streak: 2, totals: { success: 3, failure: 2 } }, lastCalls)
    assert.strictEqual(trip?.reason, "2 of the last 4 calls failed")
  })
})
