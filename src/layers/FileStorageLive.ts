/**
 * @since 0.1.0
 */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import * as PlatformError from "effect/PlatformError"
import { rmdir } from "node:fs/promises"
import { type PlatformNode, platformNode } from "../internal/drivers/PlatformNode.ts"
import { layerFrom } from "../internal/LayerConfig.ts"
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

const layerWith = (
  { NodeFileSystem, NodePath }: PlatformNode,
  options: FileStorage.Options
): Layer.Layer<Storage> =>
  Layer.provide(
    FileStorage.layer({ ...options, removeEmptyDirectory: options.removeEmptyDirectory ?? removeEmptyDirectory }),
    [NodeFileSystem.layer, NodePath.layer]
  )

/**
 * Circuits in a directory of this host, with options. Dies if the package `@effect/platform-node` is not installed.
 *
 * @category layers
 * @since 0.1.0
 */
export const layer = (options: FileStorage.Options = {}): Layer.Layer<Storage> =>
  Layer.unwrap(Effect.map(Effect.orDie(platformNode), (driver) => layerWith(driver, options)))

/**
 * The same with options from a `Config`.
 *
 * @category layers
 * @since 0.1.0
 */
export const layerConfig = (
  options: Config.Wrap<Omit<FileStorage.Options, "removeEmptyDirectory">>
): Layer.Layer<Storage, Config.ConfigError> =>
  layerFrom(options, (options) => Effect.map(platformNode, (driver) => layerWith(driver, options)))

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
