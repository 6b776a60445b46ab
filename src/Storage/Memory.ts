/**
 * Circuits in the memory of one process: gone when it ends, shared with no other.
 *
 * @since 0.1.0
 */
import * as Layer from "effect/Layer"
import { Storage } from "./Storage.ts"

/**
 * @category layers
 * @since 0.1.0
 */
export const layer: Layer.Layer<Storage> = Layer.sync(Storage, () => Storage.of({ backend: "memory" }))
