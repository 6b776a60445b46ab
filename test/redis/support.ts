/** A storage on a Redis, and commands that are sent past the storage. */
import { Cause, Effect, Layer } from "effect"
import * as Redis from "effect/persistence/Redis"
import { circuitOf } from "../../src/conformance/Law.ts"
import * as IoRedis from "../../src/layers/IoRedis.ts"
import * as RedisStorage from "../../src/Storage/Redis.ts"
import { Storage, StorageError } from "../../src/Storage/Storage.ts"

export const layerOn = (options: IoRedis.Options, storage?: RedisStorage.Options) =>
  Layer.provideMerge(RedisStorage.layer(storage), IoRedis.layer(options))

/** The circuit with this name, in the `Storage` of the context. */
export const circuit = (name: string) => Effect.map(Storage, (storage) => circuitOf(storage, name))

/** Sends a command past the storage. */
export const send = <A = unknown>(command: string, ...args: ReadonlyArray<string>) =>
  Effect.flatMap(Redis.Redis, (redis) => redis.send<A>(command, ...args))

/** The error of an operation, which must fail with a `StorageError`. */
export const errorOf = <A, E, R>(effect: Effect.Effect<A, E, R>): Effect.Effect<StorageError, never, R> =>
  Effect.flatMap(
    Effect.sandbox(Effect.flip(effect)).pipe(Effect.orDie),
    (error) => error instanceof StorageError ? Effect.succeed(error) : Effect.die(Cause.fail(error))
  )
