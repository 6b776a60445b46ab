/** The storage module, with a layer that adopters import from its own subpath. */
export { RedisStorageLive } from "../../src/layers/RedisStorageLive.ts"
export * from "../../src/Storage.ts"
