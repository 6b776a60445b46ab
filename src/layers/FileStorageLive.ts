/**
 * @since 0.1.0
 */
import * as NodeFileSystem from "@effect/platform-node/NodeFileSystem"
import * as NodePath from "@effect/platform-node/NodePath"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import { rmdir } from "node:fs/promises"
import * as FileStorage from "../Storage/File.ts"
import type { Storage } from "../Storage/Storage.ts"

const removeEmptyDirectory = (path: string) =>
  Effect.tryPromise({
    try: () => rmdir(path),
    catch: (cause) =>
      PlatformError.systemError({
        _tag: "Unknown",
        module: "FileSystem",
        method: "rmdir",
        pathOrDescriptor: path,
        cause
      })
  })

/**
 * Circuits in a directory of this host, with options.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options?: FileStorage.Options): Layer.Layer<Storage> =>
  Layer.provide(FileStorage.layer({ removeEmptyDirectory, ...options }), [NodeFileSystem.layer, NodePath.layer])

/**
 * The same with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Omit<FileStorage.Options, "removeEmptyDirectory">>
): Layer.Layer<Storage, Config.ConfigError> => Layer.unwrap(Effect.map(Config.unwrap(options), layer))

/**
 * Circuits in the directory that `CIRCUIT_BREAKER_FILE_DIR` names, by default `./.circuit_breaker`: readable documents
 * that outlive the process, and that several processes of one host may share. A directory that cannot be used fails the
 * operations and not the layer: breakers then decide on the calls of their own process.
 *
 * @category layers
 * @since 0.1.0
 */
export const FileStorageLive: Layer.Layer<Storage, Config.ConfigError> = layerConfig({
  directory: Config.withDefault(Config.String("CIRCUIT_BREAKER_FILE_DIR"), "./.circuit_breaker")
})
