/** The part of opossum that the benchmark, the tests and the examples use. The package ships no types. */
declare module "opossum" {
  export default class CircuitBreaker<Args extends ReadonlyArray<unknown>, A> {
    constructor(action: (...args: Args) => Promise<A>, options?: {
      readonly timeout?: number | false
      readonly resetTimeout?: number
      readonly errorThresholdPercentage?: number
      readonly volumeThreshold?: number
      readonly rollingCountTimeout?: number
      readonly rollingPercentilesEnabled?: boolean
      readonly enableSnapshots?: boolean
      readonly errorFilter?: (error: unknown) => boolean
    })
    readonly opened: boolean
    readonly halfOpen: boolean
    readonly pendingClose: boolean
    readonly volumeThreshold: number
    readonly options: Readonly<Record<string, unknown>>
    fire(...args: Args): Promise<A>
    shutdown(): void
  }
}
