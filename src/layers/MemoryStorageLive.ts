/**
 * @since 0.1.0
 */
import type * as Layer from "effect/Layer"
import { layer } from "../Storage/Memory.ts"
import type { Storage } from "../Storage/Storage.ts"

/**
 * Circuits in the memory of this process.
 *
 * @category layers
 * @since 0.1.0
 */
export const MemoryStorageLive: Layer.Layer<Storage> = layer
