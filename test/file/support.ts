/** Directories of circuits for tests, and functions that read and change their files without the storage. */
import { NodeFileSystem, NodePath } from "@effect/platform-node"
import { Context, Effect, FileSystem, Layer, PlatformError, type Scope } from "effect"
import { createHash } from "node:crypto"
import { mkdtempSync, readdirSync, readFileSync, rmSync, writeFileSync } from "node:fs"
import { rmdir } from "node:fs/promises"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { afterAll } from "vitest"
import type { RemoveEmptyDirectory } from "../../src/file/Directory.ts"
import { folderOf } from "../../src/file/FolderName.ts"
import type { Capabilities, Storage } from "../../src/Storage/Storage.ts"
import * as StorageService from "../../src/Storage/Storage.ts"

export const capabilities: Capabilities = { shared: false, durable: true, pushes: false, history: true, fences: true }

const base = mkdtempSync(join(tmpdir(), "effect-breaker-file-"))
afterAll(() => rmSync(base, { recursive: true, force: true }))

/** A directory that is removed after the tests of the file. */
export const freshDirectory = (): string => mkdtempSync(join(base, "directory-"))

export const removeEmptyDirectory: RemoveEmptyDirectory = (path) =>
  Effect.tryPromise({ try: () => rmdir(path), catch: () => failure("rmdir", path, "ENOTEMPTY") })

export const node = Layer.merge(NodeFileSystem.layer, NodePath.layer)

/** Builds a storage. It lives until the scope closes. */
export const build = <R>(
  layer: Layer.Layer<Storage, never, R>
): Effect.Effect<Storage, never, R | Scope.Scope> =>
  Effect.map(Layer.build(Layer.fresh(layer)), Context.get(StorageService.Storage))

export const failure = (
  method: string,
  path: string,
  code: string,
  _tag: PlatformError.SystemErrorTag = "Unknown"
): PlatformError.PlatformError =>
  PlatformError.systemError({
    _tag,
    module: "FileSystem",
    method,
    pathOrDescriptor: path,
    cause: Object.assign(new Error(code), { code })
  })

/** Node's file system, with an effect that runs before each operation on a path. */
export const before = (
  f: (method: string, path: string) => Effect.Effect<void, PlatformError.PlatformError>
): Layer.Layer<FileSystem.FileSystem> =>
  Layer.effect(
    FileSystem.FileSystem,
    Effect.map(FileSystem.FileSystem, (fs) =>
      new Proxy(fs, {
        get: (target, method: string) => {
          const original: unknown = Reflect.get(target, method)
          return typeof original !== "function" ? original : (path: string, ...rest: ReadonlyArray<unknown>) =>
            // The path of a link is its new path.
            Effect.andThen(f(method, method === "link" ? String(rest[0]) : path), () => original(path, ...rest))
        }
      }))
  ).pipe(Layer.provide(NodeFileSystem.layer))

/** The paths of a circuit's versions, the oldest first. */
export const versionsOf = (directory: string, circuit: string): ReadonlyArray<string> => {
  const folder = join(directory, folderOf(circuit))
  return readdirSync(folder).filter((name) => /^\d+\.json$/.test(name)).sort((a, b) => parseInt(a) - parseInt(b))
    .map((name) => join(folder, name))
}

/** The text of a version with these fields and the checksum that fits them. */
export const withChecksum = ({ checksum: _, ...fields }: Readonly<Record<string, unknown>>): string =>
  JSON.stringify({
    ...fields,
    checksum: `sha256:${createHash("sha256").update(JSON.stringify(fields)).digest("hex")}`
  })

/** The text of a version with another record and a fitting checksum. */
export const rewritten = (text: string, f: (record: Readonly<Record<string, unknown>>) => unknown): string => {
  const { document, ...fields } = JSON.parse(text)
  const record = f(document.record)
  return record === document.record ? text : withChecksum({ ...fields, document: { ...document, record } })
}

/** Changes the record in a circuit's newest file. */
export const rewrite = (
  directory: string,
  circuit: string,
  f: (record: Readonly<Record<string, unknown>>) => unknown
): void => {
  const file = versionsOf(directory, circuit).at(-1)!
  writeFileSync(file, rewritten(readFileSync(file, "utf8"), f))
}
