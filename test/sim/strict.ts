/** Random histories of calls through strict breakers, on a storage that is slow and loses messages, but no data. */
import { isTagged } from "effect/Predicate"
import { type Call, Fleet } from "../../src/testing/internal/Fleet.ts"
import { Rng } from "../../src/testing/internal/Random.ts"
import { isLinearizable, type Operation } from "./linearizable.ts"

export interface History {
  /** The number of failures in a row that opens the circuit. */
  readonly failures: number
  readonly operations: ReadonlyArray<Operation>
}

export const historyOf = (seed: number): History => {
  const rng = new Rng(seed)
  const failures = rng.int(2, 3)
  const fleet = new Fleet({
    seed,
    circuits: [{
      name: "c",
      policy: {
        trip: { _tag: "ConsecutiveFailures", failures },
        openFor: "1 hour",
        consistency: "strict",
        onStorageError: "fail"
      }
    }]
  })
  const isFaulty = rng.chance(0.3)
  const processes = Array.from({ length: rng.int(2, 3) }, () =>
    fleet.start({
      quality: {
        latency: rng.pick([1, 2, 10, 150]),
        jitter: rng.pick([0, 0, 20, 300]),
        losesRequest: isFaulty ? 0.1 : 0,
        losesReply: isFaulty ? 0.1 : 0,
        doubles: isFaulty ? 0.2 : 0
      }
    }))
  const moments = new Map<Call, { starts?: number; ends?: number }>()
  const operations: Array<Operation> = []
  const at = (call: Call) => {
    const known = moments.get(call) ?? {}
    moments.set(call, known)
    return known
  }
  fleet.watchers.push({
    bodyStarts: (call) => {
      at(call).starts = fleet.world.stamp()
    },
    bodyEnds: (call) => {
      at(call).ends = fleet.world.stamp()
    },
    callEnds: (call, exit) => {
      const { ends, starts } = at(call)
      const error = exit._tag === "Failure"
        ? exit.cause.reasons.find((reason) => reason._tag === "Fail")?.error
        : undefined
      // A rejection on the instance's own evidence, or for lack of an answer, says nothing about the fleet.
      if (
        starts === undefined &&
        !(isTagged(error, "BreakerOpenError") && "openedBy" in error && error.openedBy === "fleet")
      ) return
      operations.push({
        arrives: call.arrived,
        starts,
        ends,
        returns: fleet.world.stamp(),
        result: starts === undefined ? "rejected" : exit._tag === "Success" ? "succeeded" : "failed",
        isInDoubt: call.process.link.hurtAt >= (call.bodyEndedAt ?? Infinity)
      })
    }
  })
  for (let i = 0; i < 14; i++) {
    const takes = rng.pick([0, 0, 0, 20])
    rng.pick(processes).call(0, { ends: rng.chance(0.8) ? "fails" : "succeeds", takes })
    fleet.advance(rng.pick([0, 5, 20, 50, 200]))
  }
  fleet.advance(20_000)
  return { failures, operations }
}

/** The first seed, from 1 on, whose history a single breaker could not have produced. */
export const firstInexplicable = (seeds: number): number | undefined =>
  Array.from({ length: seeds }, (_, i) => i + 1).find((seed) => {
    const { failures, operations } = historyOf(seed)
    return !isLinearizable(operations, failures)
  })
