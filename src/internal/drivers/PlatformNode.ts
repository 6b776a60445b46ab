/** The package @effect/platform-node. */
import type * as FileSystem from "@effect/platform-node/NodeFileSystem"
import type * as Path from "@effect/platform-node/NodePath"
import type * as Config from "effect/Config"
import type * as Effect from "effect/Effect"
import { DriverError, loaded } from "./Driver.ts"

export interface PlatformNode {
  readonly NodeFileSystem: typeof FileSystem
  readonly NodePath: typeof Path
}

export const platformNode: Effect.Effect<PlatformNode, Config.ConfigError> = loaded(async () => {
  try {
    const NodeFileSystem = await import("@effect/platform-node/NodeFileSystem")
    const NodePath = await import("@effect/platform-node/NodePath")
    return { NodeFileSystem, NodePath }
  } catch (cause) {
    throw new DriverError("@effect/platform-node", cause)
  }
})
