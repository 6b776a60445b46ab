/**
 * What a program needs of storages: the service, its error, the two that need no driver, what makes one of any place that can
 * keep a document, and one of several. The others have a subpath each.
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
