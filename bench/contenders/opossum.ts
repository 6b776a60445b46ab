import Opossum from "opossum"
import type { Contender } from "./contender.ts"

export const opossum: Contender = {
  // It knows only a rate over a rolling window, and counts in it in every case. Percentiles and snapshots, which it works out
  // for listeners, are off: with them a failure sorts the latencies of all calls in the window.
  single: async ({ failures, timeout, trip }, { fn }) => {
    const breaker = new Opossum(fn, {
      timeout: timeout ?? false,
      resetTimeout: 3_600_000,
      // Opens above, not at, the threshold.
      errorThresholdPercentage: failures === Infinity ? 100 : 49,
      volumeThreshold: trip === "window" ? 20 : Number.isFinite(failures) ? failures : 0,
      rollingCountTimeout: trip === "window" ? 60_000 : 10_000,
      rollingPercentilesEnabled: false,
      enableSnapshots: false
    })
    return { bare: fn, call: () => breaker.fire(), isOpen: async () => breaker.opened }
  }
}
