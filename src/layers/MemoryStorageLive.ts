/**
 * @since 0.1.0
 */
import type * as Layer from "effect/Layer"
import { layer } from "../Storage/Memory.ts"
import type { Storage } from "../Storage/Storage.ts"

/**
 * Circuits in the memory of this process. They are gone when it ends, and are shared by the breakers that are given the same
 * one: provide it once, around all of them. A circuit is forgotten after an hour without use.
 *
 * @category layers
 * @since 0.1.0
 */
export const MemoryStorageLive: Layer.Layer<Storage> = layer
