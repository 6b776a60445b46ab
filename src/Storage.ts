/**
 * The storage service and its error, the two storages that need no driver, `fromDocument`, which makes a storage over
 * any place that keeps a document, and `fallback`, which combines several. The other storages have a subpath each.
 *
 * @since 0.1.0
 */
export { MemoryStorageLive } from "./layers/MemoryStorageLive.ts"
export { NullStorageLive } from "./layers/NullStorageLive.ts"
export {
  decodeDocument,
  type Document,
  type DocumentOptions,
  encodeDocument,
  fromDocument,
  type Modify
} from "./Storage/Document.ts"
export { layer as fallback } from "./Storage/Fallback.ts"
export { Storage, StorageError } from "./Storage/Storage.ts"
