import { assert, describe, it } from "@effect/vitest"
import { Fuses, type Kind, type Outcome, StorageFuse } from "../../src/combine/Fuse.ts"

const LEASE = 2000

/** Settles a request at this time, and returns what that changed. */
const settle = (fuse: StorageFuse, outcome: Outcome, now: number) => {
  const permit = fuse.admit(now)
  assert.isDefined(permit, `no permit at ${now} ms`)
  return fuse.settle(permit, outcome, now)
}

const down = (now = 0) => {
  const fuse = new StorageFuse(LEASE)
  for (let i = 0; i < 3; i++) settle(fuse, "Failure", now)
  return fuse
}

describe("a storage fuse", () => {
  it("a fuse opens for one second on the third failure in a row", () => {
    const fuse = new StorageFuse(LEASE)
    const outcomes = ["Failure", "Failure", "Success", "Failure", "Ignored", "Failure"] as const
    for (const outcome of outcomes) assert.isUndefined(settle(fuse, outcome, 0))
    assert.isFalse(fuse.isDown)
    assert.deepStrictEqual(settle(fuse, "Failure", 0), { _tag: "Down", forMillis: 1000 })
    assert.isTrue(fuse.isDown)
    assert.isUndefined(fuse.admit(999))
  })

  it("a fuse admits one probe when its open time is over, and closes when that succeeds", () => {
    const fuse = down()
    const probe = fuse.admit(1000)!
    assert.isUndefined(fuse.admit(1000))
    assert.isTrue(fuse.isDown)
    assert.deepStrictEqual(fuse.settle(probe, "Success", 1500), { _tag: "Up" })
    assert.isFalse(fuse.isDown)
  })

  it("a fuse doubles its open time up to 30 seconds while probes fail, without another Down", () => {
    const fuse = down()
    let now = 0
    for (const seconds of [1, 2, 4, 8, 16, 30, 30]) {
      assert.isUndefined(fuse.admit(now + seconds * 1000 - 1))
      now += seconds * 1000
      assert.isUndefined(settle(fuse, "Failure", now))
    }
  })

  it("a fuse remembers its openings for the last open time after it has closed", () => {
    for (const [after, forMillis] of [[999, 2000], [1000, 1000]] as const) {
      const fuse = down()
      settle(fuse, "Success", 1000)
      for (let i = 0; i < 2; i++) settle(fuse, "Failure", 1000 + after)
      assert.deepStrictEqual(settle(fuse, "Failure", 1000 + after), { _tag: "Down", forMillis })
    }
  })

  it("a fuse admits another probe after one that was ignored", () => {
    const fuse = down()
    assert.isUndefined(settle(fuse, "Ignored", 1000))
    assert.deepStrictEqual(settle(fuse, "Success", 1000), { _tag: "Up" })
  })

  it("a fuse takes a probe that has lapsed for failed, settled or not", () => {
    for (const outcome of ["Success", "Ignored", undefined] as const) {
      const fuse = down()
      const probe = fuse.admit(1000)!
      if (outcome !== undefined) assert.isUndefined(fuse.settle(probe, outcome, 1000 + LEASE))
      assert.isUndefined(fuse.admit(1000 + LEASE))
      assert.isUndefined(fuse.admit(1000 + LEASE + 1999))
      assert.isDefined(fuse.admit(1000 + LEASE + 2000))
    }
  })

  it("a fuse ignores outcomes of an earlier state", () => {
    const fuse = new StorageFuse(LEASE)
    const early = fuse.admit(0)!
    for (let i = 0; i < 3; i++) settle(fuse, "Failure", 0)
    assert.isUndefined(fuse.settle(early, "Success", 1))
    assert.isTrue(fuse.isDown)
    const lapsed = fuse.admit(1000)!
    fuse.admit(1000 + LEASE)
    assert.isUndefined(fuse.settle(lapsed, "Success", 1000 + LEASE))
    assert.isTrue(fuse.isDown)
    settle(fuse, "Success", 10_000)
    for (let i = 0; i < 3; i++) assert.isUndefined(fuse.settle(early, "Failure", 10_000))
    assert.isFalse(fuse.isDown)
  })

  it("a fuse closes and forgets its openings when it is reset", () => {
    const fuse = down()
    assert.deepStrictEqual(fuse.reset(), { _tag: "Up" })
    assert.isUndefined(fuse.reset())
    for (let i = 0; i < 2; i++) settle(fuse, "Failure", 1)
    assert.deepStrictEqual(settle(fuse, "Failure", 1), { _tag: "Down", forMillis: 1000 })
  })
})

describe("the fuses of a storage", () => {
  const outcome = (fuses: Fuses, kind: Kind, outcome: Outcome, now: number) =>
    fuses.settle(kind, fuses.admit(kind, now), outcome, now)?._tag

  it("an answered look clears no failed write, and an answered write clears failed looks (S9)", () => {
    const fuses = new Fuses(LEASE)
    const seen = (["write", "look", "write", "look", "write"] as const).map((kind) =>
      outcome(fuses, kind, kind === "look" ? "Success" : "Failure", 0)
    )
    assert.deepStrictEqual(seen, [undefined, undefined, undefined, undefined, "Down"])
    assert.isUndefined(fuses.admit("write", 0))
    assert.isDefined(fuses.admit("look", 0))

    const others = new Fuses(LEASE)
    for (let i = 0; i < 10; i++) {
      assert.isUndefined(outcome(others, "look", "Failure", 0))
      assert.isUndefined(outcome(others, "look", "Failure", 0))
      assert.isUndefined(outcome(others, "write", "Success", 0))
    }
  })

  it("one Down and one Up are told for an outage of both looks and writes (S9)", () => {
    const fuses = new Fuses(LEASE)
    const told = (["look", "write", "look", "write", "look", "write"] as const).map((kind) =>
      outcome(fuses, kind, "Failure", 0)
    )
    assert.deepStrictEqual(told.filter((tag) => tag !== undefined), ["Down"])
    assert.strictEqual(outcome(fuses, "look", "Success", 1000), "WritesDue")
    assert.isTrue(fuses.areWritesDown)
    assert.strictEqual(outcome(fuses, "write", "Success", 1000), "Up")
    assert.isFalse(fuses.isDown)
  })

  it("an answered write ends an outage of looks, and an answered look tells when a write is due (S9)", () => {
    const fuses = new Fuses(LEASE)
    for (let i = 0; i < 3; i++) outcome(fuses, "look", "Failure", 0)
    assert.isUndefined(fuses.admit("look", 0))
    assert.strictEqual(outcome(fuses, "write", "Success", 0), "Up")
    assert.isDefined(fuses.admit("look", 0))
    for (let i = 0; i < 3; i++) outcome(fuses, "write", "Failure", 0)
    assert.isUndefined(outcome(fuses, "look", "Success", 999))
    assert.strictEqual(outcome(fuses, "look", "Success", 1000), "WritesDue")
    assert.isUndefined(outcome(fuses, "write", "Failure", 1000))
    assert.isUndefined(outcome(fuses, "look", "Success", 2999))
    assert.strictEqual(outcome(fuses, "look", "Success", 3000), "WritesDue")
  })
})
