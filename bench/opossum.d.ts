/** What the benchmark uses of opossum, which ships no types. */
declare module "opossum" {
  export default class CircuitBreaker<A> {
    constructor(action: () => Promise<A>, options: {
      readonly timeout: number | false
      readonly resetTimeout: number
      readonly errorThresholdPercentage: number
      readonly volumeThreshold: number
      readonly rollingCountTimeout: number
      readonly rollingPercentilesEnabled: boolean
      readonly enableSnapshots: boolean
    })
    readonly opened: boolean
    fire(): Promise<A>
  }
}
