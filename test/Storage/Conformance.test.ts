import { assert, describe, it } from "@effect/vitest"
import { Effect } from "effect"
import { TestClock } from "effect/testing"
import * as Conformance from "../../src/Storage/Conformance.ts"
import * as NullStorage from "../../src/Storage/Null.ts"
import { broken, memory } from "./broken.ts"
import { table } from "./table.ts"

const nothing: Conformance.Params = {
  capabilities: { shared: false, durable: false, pushes: false, history: false, fences: false },
  layer: () => NullStorage.layer,
  advance: TestClock.adjust,
  maxBlocking: "100 millis"
}

const good: Record<string, Conformance.Params> = { memory, table, nothing }

for (const [name, params] of Object.entries(good)) {
  describe(`the ${name} storage`, () => {
    it("every law of the ${name} storage has a name of its own", () => {
      const names = Conformance.laws(params).map(({ name }) => name)
      assert.deepStrictEqual(names, [...new Set(names)])
    })

    for (const law of Conformance.laws(params)) it.effect(law.name, () => law.check)
  })
}

describe("a storage that breaks a law", () => {
  it("every law has a storage here that breaks it", () => {
    const names = new Set(Object.values(good).flatMap((params) => Conformance.laws(params).map(({ name }) => name)))
    assert.includeMembers(Object.keys(broken), [...names])
  })

  for (const [name, params] of Object.entries(broken)) {
    it.effect(`the suite finds a storage that breaks the law: ${name}`, () =>
      Effect.gen(function*() {
        const law = Conformance.laws(params).find((law) => law.name === name)
        if (law === undefined) return assert.fail("the law does not apply to this storage")
        const error = yield* Effect.flip(law.check)
        assert.strictEqual(error._tag, "ConformanceError")
        assert.strictEqual(error.law, name)
      }), 15_000)
  }
})
