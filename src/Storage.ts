/**
 * What a program needs of storages: the service, its error, and the two that need no driver. The others have a subpath each.
 *
 * @since 0.1.0
 */
export { MemoryStorageLive } from "./layers/MemoryStorageLive.ts"
export { NullStorageLive } from "./layers/NullStorageLive.ts"
export { Storage, StorageError } from "./Storage/Storage.ts"
