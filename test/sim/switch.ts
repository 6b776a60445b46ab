/**
 * A quiet fleet on a fallback to a second storage. Outages cut some processes off from one storage, or all from the first. Nothing
 * is pushed, so that an act of an operator is heard of by the bell of whichever storage decides.
 */
import type { Breaker } from "../../src/index.ts"
import { Fleet } from "../../src/testing/internal/Fleet.ts"
import { perfect } from "../../src/testing/internal/Link.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import { rateWithin } from "./nodes.ts"

const PROCESSES = 4
const OUTAGES = 8

/** Two intervals, the deadline of the first storage in each of three requests, and the longest time that it is skipped here. */
const LEARNS_MILLIS = 2000 + 3 * 450 + 4000

const policy: Breaker.Data = {
  trip: rateWithin(90_000),
  evidence: "pooled",
  reports: "quiet"
}

/** Runs a fleet, and returns who did not know of an act in time. */
const missedIn = (seed: number): ReadonlyArray<string> => {
  const rng = new Rng(seed)
  const fleet = new Fleet({ seed, circuits: [{ name: "c", policy }], bells: true, backends: ["first", "second"] })
  const nodes = Array.from({ length: PROCESSES }, () => {
    fleet.advance(rng.int(0, 300))
    return fleet.start()
  })
  const missed: Array<string> = []
  const passes = (millis: number): void => {
    for (let at = 0; at < millis; at += 250) {
      for (const node of nodes) node.call(0, { ends: "succeeds", takes: 0 })
      fleet.advance(250)
    }
  }
  passes(3000)
  for (let i = 0; i < OUTAGES; i++) {
    const forced = i % 2 === 0
    const isForAll = rng.chance(0.3)
    for (const { links } of nodes) {
      for (const [place, link] of links.entries()) {
        const cut = rng.pick(["silent", "refused"] as const)
        if (place === 0 ? isForAll || rng.chance(0.4) : rng.chance(0.4)) link.quality = { ...perfect, cut }
      }
    }
    passes(rng.int(0, 3000))
    rng.pick(nodes).operate(0, (breaker) =>
      forced
        ? breaker.override({ mode: "ForcedOpen", actor: "sim", reason: "test" })
        : breaker.clearOverride({ actor: "sim" }))
    passes(rng.int(1000, 3000))
    // Who was cut off from both storages could not act.
    const isDone = fleet.servers.some(({ documents }) => (documents.get("c")?.record.override !== undefined) === forced)
    for (const { links } of nodes) for (const link of links) link.quality = perfect
    passes(LEARNS_MILLIS)
    for (const node of nodes) {
      const { override } = node.snapshot(0)
      if (isDone && (override !== undefined) !== forced) {
        missed.push(`${fleet.world.now} ms: ${node.index} has not heard of act ${i}`)
      }
    }
  }
  return missed
}

/** The first seed of so many in whose fleet somebody missed an act, and what was missed. */
export const firstMissed = (fleets: number): readonly [seed: number, missed: ReadonlyArray<string>] | undefined => {
  for (let seed = 1; seed <= fleets; seed++) {
    const missed = missedIn(seed)
    if (missed.length > 0) return [seed, missed]
  }
  return undefined
}
