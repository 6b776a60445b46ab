/** The storage module with a layer that adopters write about and that has a subpath of its own. */
export { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"
export * from "../../src/Storage.ts"
