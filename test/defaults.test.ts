import { assert, describe, it } from "@effect/vitest"
import { readFileSync } from "node:fs"
import { resolve } from "../src/internal/Resolve.ts"

const table = new Map(
  readFileSync(new URL("../README.md", import.meta.url), "utf8")
    .matchAll(/^\| `([\w.]+)` +\| ([^|]+) \|/gm)
    .map(([, field, value]) => [field!, value!.trim()] as const)
)

describe("the README's table of defaults", () => {
  const defaults = resolve("any", {})

  it("says what a breaker without a policy does", () => {
    assert.deepEqual(defaults.rule, { _tag: "ConsecutiveFailures", failures: 5 })
    assert.strictEqual(table.get("trip"), "5 consecutive failures")
    assert.strictEqual(table.get("openFor"), `${Number(defaults.openFor) / 1000} seconds, or \`maxOpenFor\` if less`)
    assert.strictEqual(table.get("maxOpenFor"), `${defaults.maxOpenFor / 3_600_000} hour, or \`openFor\` if longer`)
    assert.strictEqual(table.get("halfOpen.probes"), String(defaults.probes))
    assert.strictEqual(table.get("halfOpen.successes"), String(defaults.successes))
    assert.strictEqual(
      table.get("halfOpen.lease"),
      `the probe's timeout + 1 s, else ${defaults.lease / 1000} s`
    )
    for (const field of ["timeout", "maxConcurrent", "halfOpen.ramp"]) assert.strictEqual(table.get(field), "none")
    assert.deepEqual([defaults.timeout, defaults.maxConcurrent, defaults.ramp], [undefined, undefined, 0])
  })

  it("says what follows from other fields", () => {
    assert.strictEqual(resolve("any", { openFor: "2 hours" }).maxOpenFor, 7_200_000)
    assert.strictEqual(resolve("any", { maxOpenFor: "10 seconds" }).openFor, 10_000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds" }).lease, 3000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds" }).probeTimeout, 2000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds", halfOpen: { timeout: "1 second" } }).lease, 2000)
  })
})
