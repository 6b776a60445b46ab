import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { globSync, readFileSync } from "node:fs"
import { Trip } from "../src/index.ts"
import { resolve } from "../src/internal/Resolve.ts"
import { idleTime } from "../src/Storage/Document.ts"

const read = (file: string) => readFileSync(new URL(`../${file}`, import.meta.url), "utf8")

const tableOf = (file: string) =>
  new Map(
    read(file)
      .matchAll(/^\| ([^|]+) \| ([^|]+) \|/gm)
      .map(([, field, value]) => [field!.trim().replaceAll("`", ""), value!.trim()] as const)
  )

const table = tableOf("README.md")

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

  it("says what is between a breaker and its fleet", () => {
    const { evidence, failsWithStorage, maxAge, syncEvery } = defaults.fleet
    assert.strictEqual(table.get("syncEvery"), `${syncEvery / 1000} second`)
    assert.deepEqual([maxAge, table.get("consistency")], [Infinity, "`local`"])
    assert.deepEqual([failsWithStorage, table.get("onStorageError")], [false, "`allow`"])
    // The storage decides, but for what cannot be pooled.
    assert.isUndefined(evidence)
    assert.match(table.get("evidence") ?? "", /^`pooled`, or `any`/)
    const trip = Trip.failureRate({ threshold: 0.5, lastCalls: 10 })
    assert.strictEqual(resolve("any", { trip }).fleet.evidence, "any")
  })

  it("says what follows from other fields", () => {
    assert.strictEqual(resolve("any", { openFor: "2 hours" }).maxOpenFor, 7_200_000)
    assert.strictEqual(resolve("any", { maxOpenFor: "10 seconds" }).openFor, 10_000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds" }).lease, 3000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds" }).probeTimeout, 2000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds", halfOpen: { timeout: "1 second" } }).lease, 2000)
  })
})

describe("the bounds that the documents give", () => {
  const internal = globSync("src/internal/**/*.ts", { cwd: new URL("..", import.meta.url) }).map(read).join("\n")
  const constant = (name: string): number =>
    Number(new RegExp(`^(?:export )?const ${name} = (\\d+)$`, "m").exec(internal)?.[1])
  const deadline = `${constant("DEADLINE") / 1000} second`
  const patience = `${constant("PATIENCE")} ms`
  const hurry = `${constant("HURRY")} ms`

  it("are the engine's, in the README", () => {
    assert.strictEqual(table.get("a storage's answer; one that comes later is none"), deadline)
    assert.strictEqual(table.get("what a call waits for the load of its circuit, or for a lease"), patience)
    assert.strictEqual(table.get("how long a failure is kept back before it is reported"), hurry)
    assert.strictEqual(table.get("circuits in one request"), String(constant("BATCH")))
    assert.strictEqual(
      table.get("failed requests in a row before the storage counts as away"),
      String(constant("AWAY"))
    )
    assert.strictEqual(
      table.get("how long a storage remembers a circuit that nobody uses, by default"),
      `${Duration.toHours(idleTime("any"))} hour`
    )
  })

  it("are the engine's, in the protocol", () => {
    const protocol = tableOf("docs/protocol.md")
    assert.strictEqual(protocol.get("a request, before it counts as failed"), deadline)
    assert.strictEqual(protocol.get("a call waits for its circuit's load, or for a lease"), `at most ${patience}`)
    assert.strictEqual(protocol.get("a failure is kept back, to be reported with others"), `at most ${hurry}`)
    assert.strictEqual(
      protocol.get("a lease is asked for"),
      `${constant("GRACE") / 1000} second longer than its holder uses it`
    )
  })
})
