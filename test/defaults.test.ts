import { assert, describe, it } from "@effect/vitest"
import { Duration } from "effect"
import { readFileSync } from "node:fs"
import { MOST_LAPSED_LEASES } from "../src/core/Lease.ts"
import { Trip } from "../src/index.ts"
import {
  CALL_PATIENCE_MILLIS,
  CIRCUITS_PER_REQUEST,
  FAILURE_DELAY_MILLIS,
  FAILURES_UNTIL_UNREACHABLE,
  REQUEST_DEADLINE_MILLIS
} from "../src/internal/Bounds.ts"
import { resolve } from "../src/internal/ResolvedPolicy.ts"
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

  it("the README's defaults are those of a breaker without a policy", () => {
    assert.deepEqual(defaults.rule, { _tag: "ConsecutiveFailures", failures: 5 })
    assert.strictEqual(table.get("trip"), "5 consecutive failures")
    assert.strictEqual(table.get("openFor"), `${Number(defaults.openFor) / 1000} seconds, or \`maxOpenFor\` if less`)
    assert.strictEqual(
      table.get("maxOpenFor"),
      `${defaults.maxOpenForMillis / 3_600_000} hour, or \`openFor\` if longer`
    )
    assert.strictEqual(table.get("halfOpen.probes"), String(defaults.probes))
    assert.strictEqual(table.get("halfOpen.successes"), String(defaults.successes))
    assert.strictEqual(
      table.get("halfOpen.lease"),
      `the probe's timeout + 1 s, else ${defaults.leaseMillis / 1000} s`
    )
    for (const field of ["timeout", "maxConcurrent", "halfOpen.ramp", "throttle"]) {
      assert.strictEqual(table.get(field), "none")
    }
    assert.deepEqual([defaults.timeoutMillis, defaults.maxConcurrent, defaults.rampMillis], [undefined, undefined, 0])
    assert.isUndefined(defaults.throttle)
  })

  it("the README's defaults of a fleet are those of a breaker without a policy", () => {
    const { evidence, failsWithStorage, isQuiet, maxAgeMillis, syncEveryMillis } = defaults.fleet
    assert.deepEqual([isQuiet, table.get("reports")], [true, "`quiet`"])
    assert.strictEqual(table.get("syncEvery"), `${syncEveryMillis / 1000} second`)
    assert.deepEqual([maxAgeMillis, table.get("consistency")], [Infinity, "`local`"])
    assert.deepEqual([failsWithStorage, table.get("onStorageError")], [false, "`allow`"])
    assert.strictEqual(table.get("approachAt"), String(defaults.approachAt))
    assert.deepEqual([defaults.enforcement, table.get("enforcement")], ["enforce", "`enforce`"])
    // `undefined`, because the storage decides, unless a rule cannot be pooled.
    assert.isUndefined(evidence)
    assert.match(table.get("evidence") ?? "", /^`pooled`, or `any`/)
    const trip = Trip.failureRate({ threshold: 0.5, lastCalls: 10 })
    assert.strictEqual(resolve("any", { trip }).fleet.evidence, "any")
  })

  it("a default that depends on other fields follows them as the README says", () => {
    assert.strictEqual(resolve("any", { openFor: "2 hours" }).maxOpenForMillis, 7_200_000)
    assert.strictEqual(resolve("any", { maxOpenFor: "10 seconds" }).openFor, 10_000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds" }).leaseMillis, 3000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds" }).probeTimeoutMillis, 2000)
    assert.strictEqual(resolve("any", { timeout: "2 seconds", halfOpen: { timeout: "1 second" } }).leaseMillis, 2000)
  })
})

describe("the bounds that the documents give", () => {
  const deadline = `${REQUEST_DEADLINE_MILLIS / 1000} second`
  const patience = `${CALL_PATIENCE_MILLIS} ms`
  const delay = `${FAILURE_DELAY_MILLIS} ms`

  it("docs/fleet.md gives the bounds of requests and calls as the library has them", () => {
    const table = tableOf("docs/fleet.md")
    assert.strictEqual(table.get("how long a request to a storage may take before it fails"), deadline)
    assert.strictEqual(table.get("how long a call waits for the load of its circuit or for a lease"), patience)
    assert.strictEqual(table.get("how long after a failure it is reported"), delay)
    assert.strictEqual(table.get("circuits in one request"), String(CIRCUITS_PER_REQUEST))
    assert.strictEqual(
      table.get("failed requests in a row before the storage counts as away"),
      String(FAILURES_UNTIL_UNREACHABLE)
    )
    assert.strictEqual(
      table.get("how long a storage keeps an unused circuit, by default"),
      `${Duration.toHours(idleTime("any"))} hour`
    )
  })

  it("docs/protocol.md gives the bounds of requests, calls and leases as the library has them", () => {
    const protocol = tableOf("docs/protocol.md")
    assert.strictEqual(protocol.get("a request, before it counts as failed"), deadline)
    assert.strictEqual(protocol.get("a call waits for the load of its circuit or for a lease"), `at most ${patience}`)
    assert.strictEqual(protocol.get("a failure is held back, to be reported with others"), `at most ${delay}`)
    const lapsed = protocol.get("leases that have lapsed, which a record keeps")
    assert.strictEqual(lapsed, `the newest ${MOST_LAPSED_LEASES}`)
  })
})
