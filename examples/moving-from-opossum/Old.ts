/** The breakers that the shop has today. They open above half of at least four calls. */
import CircuitBreaker from "opossum"

export const opossum = () =>
  new CircuitBreaker((call: () => Promise<any>) => call(), {
    timeout: false,
    errorThresholdPercentage: 50,
    volumeThreshold: 4,
    resetTimeout: 30_000
  })
