import Opossum from "opossum"
import type { Contender } from "./contender.ts"

export const opossum: Contender = {
  // Its only policy is a rate over a rolling window, so every case counts in one. Percentiles and snapshots are for
  // listeners and are off, because with them a failure sorts the latencies of all calls in the window.
  single: async ({ failures, timeoutMillis, trip }, { fn }) => {
    // `fire` passes its arguments to the one function that a breaker has.
    const breaker = new Opossum((answer?: Promise<number>) => answer ?? fn(), {
      timeout: timeoutMillis ?? false,
      resetTimeout: 3_600_000,
      // It opens above the threshold, not at it.
      errorThresholdPercentage: failures === Infinity ? 100 : 49,
      volumeThreshold: trip === "window" ? 20 : Number.isFinite(failures) ? failures : 0,
      rollingCountTimeout: trip === "window" ? 60_000 : 10_000,
      rollingPercentilesEnabled: false,
      enableSnapshots: false
    })
    return {
      bare: fn,
      call: () => breaker.fire(),
      wait: (answer) => breaker.fire(answer),
      isOpen: async () => breaker.opened
    }
  }
}
