/**
 * @since 0.1.0
 */
import type * as Layer from "effect/Layer"
import { layer } from "../Storage/Null.ts"
import type { Storage } from "../Storage/Storage.ts"

/**
 * No storage: every breaker decides on its own calls alone, and an operator's act changes only that one breaker.
 *
 * @category layers
 * @since 0.1.0
 */
export const NullStorageLive: Layer.Layer<Storage> = layer
