import { assert, describe, it } from "@effect/vitest"
import { Contended } from "../../src/sql/Contended.ts"

/** How many reports are added one after the other, of a stripe that others always change, or never. */
const runs = (contended: Contended, reports: number, isChanged: (report: number) => boolean): ReadonlyArray<number> => {
  const added: Array<number> = []
  let run = 0
  for (let report = 0; report < reports; report++) {
    if (contended.adds("circuit")) run++
    else {
      added.push(run)
      run = 0
      if (isChanged(report)) contended.found("circuit")
    }
  }
  return added
}

describe("reports that the database adds", () => {
  it("are the more, the longer others change the stripe", () => {
    assert.deepEqual(runs(new Contended(), 512, () => true), [0, 1, 2, 4, 8, 16, 32, 64, 128, 128])
  })

  it("are one where the stripe was changed once", () => {
    assert.deepEqual(runs(new Contended(), 8, (report) => report === 2), [0, 0, 0, 1, 0, 0, 0])
  })

  it("are few again once the stripe is found unchanged", () => {
    const contended = new Contended()
    runs(contended, 100, () => true)
    runs(contended, 200, () => false)
    assert.deepEqual(runs(contended, 4, (report) => report === 0), [0, 1, 0])
  })

  it("are no more after one that was added, and found its stripe held", () => {
    const contended = new Contended()
    contended.found("circuit")
    assert.isTrue(contended.adds("circuit"))
    contended.found("circuit")
    assert.deepEqual(runs(contended, 3, () => false), [0, 0, 0])
  })

  it("are of 10,000 circuits at most", () => {
    const contended = new Contended()
    for (let i = 0; i <= 10_000; i++) contended.found(`${i}`)
    assert.deepEqual([contended.adds("0"), contended.adds("10000")], [false, true])
  })
})
