/**
 * Three bad nodes in a fleet of ten that was healthy and silent, and whose traffic is nearly all in one healthy node. What that node
 * has not said yet decides whether the circuit opens, which must not be.
 */
import type { Breaker } from "../../src/index.ts"
import { fails, rateWithin, startNodes, succeeds } from "./nodes.ts"

const BAD = 3
const CALM_MILLIS = 4000
const TROUBLE_MILLIS = 8000
const BUSY_EVERY_MILLIS = 5
const LATENCY_MILLIS = 125

const policy: Breaker.Data = { trip: rateWithin(30_000) }

/** Whether the circuit opened for all. Messages are as slow as they can be before intervals get longer. */
const opensByBadNodes = (seed: number): boolean => {
  const { fleet, nodes, rng } = startNodes(seed, policy, LATENCY_MILLIS)
  for (const node of nodes) node.call(0, succeeds)
  fleet.advance(CALM_MILLIS)
  const from = rng.int(0, 1000)
  for (const bad of nodes.slice(0, BAD)) {
    for (let i = 0; i < 30; i++) fleet.world.after(from + rng.int(0, 200), () => bad.call(0, fails))
  }
  for (let at = 0; at < TROUBLE_MILLIS; at += BUSY_EVERY_MILLIS) {
    fleet.world.after(from + at, () => nodes.at(-1)!.call(0, succeeds))
  }
  fleet.advance(TROUBLE_MILLIS)
  return (fleet.server.documents.get("c")?.record.lifetime.opened ?? 0) > 0
}

/** In how many of so many fleets the bad nodes opened the circuit. */
export const openedByBadNodes = (fleets: number): number =>
  Array.from({ length: fleets }, (_, seed) => opensByBadNodes(seed + 1)).filter(Boolean).length
