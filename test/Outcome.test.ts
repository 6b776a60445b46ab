import { assert, describe, it } from "@effect/vitest"
import { Cause, Duration, Exit } from "effect"
import { Outcome } from "../src/index.ts"
import { hintMillisOf } from "../src/internal/Call.ts"

const marked = (outcome: unknown) => ({ [Outcome.outcome]: outcome })
const bad = Cause.fail("bad")
const fine = Cause.fail(marked(Outcome.success))
const mute = Cause.fail(marked(Outcome.ignored))

describe("a cause", () => {
  const cases: ReadonlyArray<readonly [string, Cause.Cause<unknown>, Outcome.Outcome["_tag"]]> = [
    ["of nothing is ignored", Cause.empty, "Ignored"],
    ["of an error is a failure", bad, "Failure"],
    ["of a defect is a failure", Cause.die("bug"), "Failure"],
    ["of interruption alone is ignored (C6.75)", Cause.interrupt(1), "Ignored"],
    ["of two interruptions is ignored", Cause.combine(Cause.interrupt(1), Cause.interrupt(2)), "Ignored"],
    ["of an error and an interruption is a failure (C6.76)", Cause.combine(bad, Cause.interrupt(1)), "Failure"],
    ["of an interruption and an error is a failure (C6.76)", Cause.combine(Cause.interrupt(1), bad), "Failure"],
    ["of an error that carries Ignored is ignored (C6.81)", mute, "Ignored"],
    ["of an error that carries Success is a success", fine, "Success"],
    ["of an error that carries Ignored and one that carries nothing is a failure", Cause.combine(mute, bad), "Failure"],
    ["of the same two in the other order is a failure", Cause.combine(bad, mute), "Failure"],
    [
      "of an error that carries Success and an interruption is a success",
      Cause.combine(fine, Cause.interrupt(1)),
      "Success"
    ],
    ["of a defect that carries Ignored is ignored", Cause.die(marked(Outcome.ignored)), "Ignored"]
  ]
  for (const [what, cause, expected] of cases) {
    it(`a cause ${what}`, () => {
      assert.strictEqual(Outcome.fromCause(cause)._tag, expected)
      assert.strictEqual(Outcome.fromExit(Exit.failCause(cause))._tag, expected)
    })
  }

  it("a cause of an error with a retryAfter hint keeps the hint", () => {
    const failure = Outcome.failure({ retryAfter: "9 seconds" })
    assert.deepStrictEqual(Outcome.fromCause(Cause.combine(mute, Cause.fail(marked(failure)))), failure)
  })

  it("a cause of an error whose outcome is invalid, or throws when read, is a failure", () => {
    for (const mark of [undefined, null, "Ignored", { _tag: "Maybe" }, {}]) {
      assert.strictEqual(Outcome.fromCause(Cause.fail(marked(mark)))._tag, "Failure")
    }
    const hostile = {
      get [Outcome.outcome]() {
        throw new Error("no")
      }
    }
    assert.strictEqual(Outcome.fromCause(Cause.fail(hostile))._tag, "Failure")
  })
})

describe("an exit", () => {
  it("an exit that succeeds is a success, even if its value carries an outcome", () => {
    for (const value of [undefined, new Error("bad"), marked(Outcome.ignored)]) {
      assert.deepStrictEqual(Outcome.fromExit(Exit.succeed(value)), Outcome.success)
    }
  })
})

describe("outcomes", () => {
  it("isOutcome tells outcomes from other values", () => {
    for (const outcome of [Outcome.success, Outcome.ignored, Outcome.failure(), Outcome.failure({ retryAfter: 5 })]) {
      assert.isTrue(Outcome.isOutcome(outcome))
      assert.isTrue(Outcome.isOutcome(JSON.parse(JSON.stringify(outcome))))
    }
    for (const other of [undefined, null, "Success", { _tag: "success" }, {}, []]) {
      assert.isFalse(Outcome.isOutcome(other))
    }
  })

  it("a failure's retryAfter is no hint if it is past, invalid or absent (C3.41)", () => {
    const hint = (retryAfter: unknown) => hintMillisOf({ _tag: "Failure", retryAfter: retryAfter as Duration.Input })
    for (const none of [undefined, null, 0, -5, "-3 seconds", "soon", NaN, {}, Duration.millis(-1)]) {
      assert.strictEqual(hint(none), 0)
    }
    assert.deepStrictEqual([hint(1500), hint("2 seconds"), hint(Duration.minutes(1))], [1500, 2000, 60_000])
    assert.strictEqual(hint(Infinity), Infinity)
  })
})
