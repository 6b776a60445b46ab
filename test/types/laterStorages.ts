/** The storage module with the layers that adopters write about and that have subpaths of their own, or are yet to come. */
import type { Duration, Layer } from "effect"
import type { Storage } from "../../src/Storage.ts"

export { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"
export * from "../../src/Storage.ts"

interface Hop {
  readonly storage: Layer.Layer<Storage, any, any>
  readonly deadline?: Duration.Input | undefined
}
export declare const fallback: <const Hops extends readonly [Hop, ...Array<Hop>]>(
  hops: Hops
) => Layer.Layer<Storage, Layer.Error<Hops[number]["storage"]>, Layer.Services<Hops[number]["storage"]>>
