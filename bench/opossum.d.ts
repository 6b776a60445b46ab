/** The part of opossum that the benchmark uses. The package ships no types. */
declare module "opossum" {
  export default class CircuitBreaker<Args extends ReadonlyArray<unknown>, A> {
    constructor(action: (...args: Args) => Promise<A>, options: {
      readonly timeout: number | false
      readonly resetTimeout: number
      readonly errorThresholdPercentage: number
      readonly volumeThreshold: number
      readonly rollingCountTimeout: number
      readonly rollingPercentilesEnabled: boolean
      readonly enableSnapshots: boolean
    })
    readonly opened: boolean
    fire(...args: Args): Promise<A>
  }
}
