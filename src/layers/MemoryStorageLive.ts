/**
 * @since 0.1.0
 */
import type * as Layer from "effect/Layer"
import { layer } from "../Storage/Memory.ts"
import type { Storage } from "../Storage/Storage.ts"

/**
 * Circuits in the memory of this process, which end with it. Breakers share them if they are built on the same storage,
 * so provide this layer once, around all of them. A circuit is forgotten after an hour without use.
 *
 * @category layers
 * @since 0.1.0
 */
export const MemoryStorageLive: Layer.Layer<Storage> = layer
