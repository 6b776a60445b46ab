import { assert, describe, it } from "@effect/vitest"
import { isLinearizable, type Operation } from "./linearizable.ts"
import { firstInexplicable, historyOf } from "./strict.ts"

/** A call, by its moments in the order of all operations. */
const call = (
  arrives: number,
  starts: number,
  ends: number,
  returns: number,
  result: "succeeded" | "failed"
): Operation => ({
  arrives,
  starts,
  ends,
  returns,
  result,
  isInDoubt: false
})
const refused = (arrives: number, returns: number): Operation => ({
  arrives,
  returns,
  result: "rejected",
  isInDoubt: false
})

describe("the checker of strict histories", () => {
  const two = [call(1, 2, 3, 4, "failed"), call(5, 6, 7, 8, "failed")]

  it("the checker accepts what one breaker would have done", () => {
    assert.isTrue(isLinearizable([...two, refused(9, 10)], 2))
    assert.isTrue(
      isLinearizable([call(1, 2, 3, 4, "failed"), call(5, 6, 7, 8, "succeeded"), call(9, 10, 11, 12, "failed")], 2)
    )
  })

  it("the checker accepts a call that was loading or running when the trip was committed", () => {
    const [first] = two
    assert.isTrue(isLinearizable([first!, call(5, 7, 8, 12, "failed"), call(6, 9, 10, 11, "succeeded")], 2))
  })

  it("the checker refuses a call that arrived after the trip and ran", () => {
    assert.isFalse(isLinearizable([...two, call(9, 10, 11, 12, "succeeded")], 2))
  })

  it("the checker refuses a rejection without a reason", () => {
    assert.isFalse(isLinearizable([call(1, 2, 3, 4, "failed"), refused(5, 6)], 2))
    assert.isFalse(isLinearizable([call(1, 2, 3, 4, "failed"), call(5, 6, 7, 8, "succeeded"), refused(9, 10)], 2))
  })
})

describe("strict breakers of a fleet", () => {
  it("strict breakers of a fleet are like one that all share", () => {
    assert.strictEqual(firstInexplicable(500), undefined)
  })

  it("strict histories have calls that were rejected, that failed and that succeeded", () => {
    const all = Array.from({ length: 100 }, (_, i) => historyOf(i + 1).operations).flat()
    for (const result of ["rejected", "failed", "succeeded"]) {
      assert.isAbove(all.filter((operation) => operation.result === result).length, 50)
    }
  })
})
