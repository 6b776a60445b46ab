/**
 * A file system in memory that loses power as a real one does. A file's content is safe once the file is flushed, and a
 * directory's entries once the directory is flushed. A crash keeps a random part of the rest, and may cut or damage a
 * file. Operations run in steps. The hook `before` can delay or fail a step, and `after` can take a crashed copy of the
 * disk.
 */
import { ByteSize, Clock, Effect, FileSystem, Layer, Path, type PlatformError } from "effect"
import type { RemoveEmptyDirectory } from "../../src/file/Directory.ts"
import * as FileStorage from "../../src/Storage/File.ts"
import type { Rng } from "../../src/testing/internal/Random.ts"
import { build, failure } from "./support.ts"

export const DIRECTORY = "/var/circuits"

/** A clock that advances by 0.25 ms with every reading. A sleep only yields. */
export const clockAt = (start: number) => {
  let now = start
  const millis = () => (now += 0.25)
  const nanos = () => BigInt(Math.floor(millis() * 1e6))
  const clock: Clock.Clock = {
    currentTimeMillisUnsafe: millis,
    currentTimeNanosUnsafe: nanos,
    monotonicTimeNanosUnsafe: nanos,
    currentTimeMillis: Effect.sync(millis),
    currentTimeNanos: Effect.sync(nanos),
    monotonicTimeNanos: Effect.sync(nanos),
    sleep: () => Effect.yieldNow
  }
  return {
    provide: Effect.provideService(Clock.Clock, clock),
    advance: (by: number) => {
      now += by
    }
  }
}

/** Builds a storage on a disk. It lives until the scope closes. */
export const storageOn = (disk: Disk, options?: FileStorage.Options) =>
  build(
    FileStorage.layer({
      directory: DIRECTORY,
      cleanUp: false,
      removeEmptyDirectory: disk.removeEmptyDirectory,
      ...options
    })
  ).pipe(Effect.provide(disk.layer))

class File {
  data: Uint8Array = new Uint8Array()
  safe: Uint8Array = this.data
}

class Directory {
  entries = new Map<string, Node>()
  safe = new Map<string, Node>()
  /** The nodes that each name has had since the last flush. */
  readonly states = new Map<string, Array<Node | undefined>>()

  set(name: string, node: Node | undefined): void {
    if (node === undefined) this.entries.delete(name)
    else this.entries.set(name, node)
    this.states.set(name, [...this.states.get(name) ?? [], node])
  }

  flush(): void {
    this.safe = new Map(this.entries)
    this.states.clear()
  }
}

type Node = File | Directory

export interface Step {
  readonly number: number
  readonly method: string
  readonly path: string
}

/** Ways to be less safe than the storage requires. */
export type Weakness =
  | "what was read once is there"
  | "no flush of files"
  | "no flush of directories"
  | "a link before the flush"
  | "written in place"

const empty = new Uint8Array()

const joined = (a: Uint8Array, b: Uint8Array): Uint8Array => {
  const both = new Uint8Array(a.length + b.length)
  both.set(a)
  both.set(b, a.length)
  return both
}

export class Disk {
  #root = new Directory()
  #steps = 0
  readonly #unflushed = new Set<File>()
  readonly #read = new Map<string, string>()
  /** Runs before each step, and can fail or delay it. */
  before: (step: Step) => Effect.Effect<void, PlatformError.PlatformError> = () => Effect.void
  /** Runs right after each successful step. */
  after: (step: Step) => void = () => {}
  /** The length of the first of the two steps of a write. */
  cut: (length: number) => number = (length) => length >> 1
  weakness: Weakness | undefined

  get steps(): number {
    return this.#steps
  }

  /** The disk as it may be after a power cut at this moment. */
  crash(rng: Rng): Disk {
    const survivors = new Map<Node, Node>()
    const survive = (node: Node): Node => {
      const known = survivors.get(node)
      if (known !== undefined) return known
      if (node instanceof File) {
        const file = new File()
        survivors.set(node, file)
        file.data = node.data === node.safe || rng.chance(0.2)
          ? node.safe
          : rng.chance(0.3)
          ? node.data
          : node.data.slice(0, rng.int(0, node.data.length)).map((byte) => rng.chance(0.001) ? 0 : byte)
        file.safe = file.data
        return file
      }
      const directory = new Directory()
      survivors.set(node, directory)
      for (const name of new Set([...node.safe.keys(), ...node.states.keys()])) {
        const left = rng.pick([node.safe.get(name), ...node.states.get(name) ?? []])
        if (left !== undefined) directory.entries.set(name, survive(left))
      }
      directory.flush()
      return directory
    }
    const disk = new Disk()
    disk.#root = survive(this.#root) as Directory
    return disk
  }

  /** The text of each file, by its path. */
  files(): Readonly<Record<string, string>> {
    const found: Record<string, string> = {}
    const visit = (directory: Directory, path: string) => {
      for (const [name, node] of directory.entries) {
        if (node instanceof Directory) visit(node, `${path}/${name}`)
        else found[`${path}/${name}`] = new TextDecoder().decode(node.data)
      }
    }
    visit(this.#root, "")
    return found
  }

  /** Puts a flushed file in place without a step. */
  put(path: string, text: string): void {
    const { directory, name } = this.#parent("put", path)
    const file = new File()
    file.safe = file.data = new TextEncoder().encode(text)
    directory.entries.set(name, file)
    directory.safe.set(name, file)
  }

  get layer(): Layer.Layer<FileSystem.FileSystem | Path.Path> {
    return Layer.merge(Layer.succeed(FileSystem.FileSystem, this.#fileSystem), Path.layer)
  }

  readonly removeEmptyDirectory: RemoveEmptyDirectory = (path) =>
    this.#step("rmdir", path, () => {
      const { directory, name, node } = this.#parent("rmdir", path)
      if (!(node instanceof Directory)) throw failure("rmdir", path, "ENOENT", "NotFound")
      if (node.entries.size > 0) throw failure("rmdir", path, "ENOTEMPTY")
      directory.set(name, undefined)
    })

  #step<A>(method: string, path: string, f: () => A): Effect.Effect<A, PlatformError.PlatformError> {
    return Effect.suspend(() => {
      const step = { number: this.#steps++, method, path }
      return Effect.andThen(
        this.before(step),
        Effect.suspend(() => {
          try {
            const result = f()
            this.after(step)
            return Effect.succeed(result)
          } catch (error) {
            return Effect.fail(error as PlatformError.PlatformError)
          }
        })
      )
    })
  }

  #find(method: string, path: string): Node {
    let node: Node = this.#root
    for (const name of path.split("/").slice(1).filter((name) => name !== "")) {
      if (!(node instanceof Directory)) throw failure(method, path, "ENOTDIR", "BadResource")
      const next = node.entries.get(name)
      if (next === undefined) throw failure(method, path, "ENOENT", "NotFound")
      node = next
    }
    return node
  }

  #parent(method: string, path: string) {
    const cut = path.lastIndexOf("/")
    const directory = this.#find(method, path.slice(0, cut))
    if (!(directory instanceof Directory)) throw failure(method, path, "ENOTDIR", "BadResource")
    const name = path.slice(cut + 1)
    return { directory, name, node: directory.entries.get(name) }
  }

  #create(method: string, path: string): File {
    const { directory, name, node } = this.#parent(method, path)
    if (node !== undefined) throw failure(method, path, "EEXIST", "AlreadyExists")
    const file = new File()
    directory.set(name, file)
    return file
  }

  /** Writes in two steps, so that a crash or a reader may find a part of the file. */
  #write(path: string, file: File, bytes: Uint8Array) {
    const cut = this.cut(bytes.length)
    const append = (part: Uint8Array) => () => {
      file.data = joined(file.data, part)
    }
    return Effect.andThen(
      this.#step("write", path, append(bytes.subarray(0, cut))),
      this.#step("write", path, append(bytes.subarray(cut)))
    )
  }

  #flush(path: string, node: Node) {
    return this.#step("sync", path, () => {
      if (node instanceof Directory) {
        if (this.weakness !== "no flush of directories") node.flush()
      } else if (this.weakness === "a link before the flush") this.#unflushed.add(node)
      else if (this.weakness !== "no flush of files") node.safe = node.data
    })
  }

  #link(from: string, to: string): Effect.Effect<void, PlatformError.PlatformError> {
    const file = () => {
      const found = this.#find("link", from)
      if (found instanceof Directory) throw failure("link", from, "EPERM", "PermissionDenied")
      return found
    }
    if (this.weakness === "written in place") {
      return Effect.flatMap(
        this.#step("link", to, () => ({ copy: this.#create("link", to), data: file().data })),
        ({ copy, data }) => Effect.andThen(this.#write(to, copy, data), this.#flush(to, copy))
      )
    }
    const link = this.#step("link", to, () => {
      const found = file()
      const { directory, name, node } = this.#parent("link", to)
      if (node !== undefined) throw failure("link", to, "EEXIST", "AlreadyExists")
      directory.set(name, found)
      return found
    })
    return Effect.flatMap(link, (found) =>
      this.#unflushed.delete(found)
        ? this.#step("sync", to, () => {
          found.safe = found.data
        })
        : Effect.void)
  }

  readonly #fileSystem = FileSystem.makeNoop({
    makeDirectory: (path, options) =>
      this.#step("makeDirectory", path, () => {
        if (options?.recursive !== true) {
          const { directory, name, node } = this.#parent("makeDirectory", path)
          if (node !== undefined) throw failure("makeDirectory", path, "EEXIST", "AlreadyExists")
          return directory.set(name, new Directory())
        }
        let at = this.#root
        for (const name of path.split("/").filter((name) => name !== "")) {
          let next = at.entries.get(name)
          if (next === undefined) at.set(name, next = new Directory())
          if (next instanceof File) throw failure("makeDirectory", path, "ENOTDIR", "BadResource")
          at = next
        }
      }),
    open: (path, options) =>
      Effect.map(
        this.#step(
          "open",
          path,
          () => options?.flag === "wx" ? this.#create("open", path) : this.#find("open", path)
        ),
        (node) =>
          ({
            sync: this.#flush(path, node),
            writeAll: (bytes: Uint8Array) => this.#write(path, node as File, bytes)
          }) as unknown as FileSystem.File
      ),
    link: (from, to) => this.#link(from, to),
    rename: (from, to) =>
      this.#step("rename", to, () => {
        const source = this.#parent("rename", from)
        if (source.node === undefined) throw failure("rename", from, "ENOENT", "NotFound")
        const target = this.#parent("rename", to)
        if (source.node instanceof Directory && target.node instanceof File) {
          throw failure("rename", to, "ENOTDIR", "BadResource")
        }
        if (target.node instanceof Directory && target.node.entries.size > 0) throw failure("rename", to, "ENOTEMPTY")
        target.directory.set(target.name, source.node)
        source.directory.set(source.name, undefined)
      }),
    remove: (path, options) =>
      this.#step("remove", path, () => {
        try {
          const { directory, name, node } = this.#parent("remove", path)
          if (node === undefined) throw failure("remove", path, "ENOENT", "NotFound")
          if (node instanceof Directory && options?.recursive !== true) throw failure("remove", path, "EISDIR")
          directory.set(name, undefined)
        } catch (error) {
          const { reason } = error as PlatformError.PlatformError
          if (reason._tag !== "NotFound" || options?.force !== true) throw error
        }
      }),
    readDirectoryEntries: (path) =>
      this.#step("readDirectoryEntries", path, () => {
        const node = this.#find("readDirectoryEntries", path)
        if (node instanceof File) throw failure("readDirectoryEntries", path, "ENOTDIR", "BadResource")
        return Array.from(node.entries, ([name, entry]) => ({
          name,
          type: entry instanceof File ? "File" as const : "Directory" as const
        }))
      }),
    readDirectory: (path) =>
      this.#step("readDirectory", path, () => {
        const node = this.#find("readDirectory", path)
        if (node instanceof File) throw failure("readDirectory", path, "ENOTDIR", "BadResource")
        return [...node.entries.keys()]
      }),
    readFileString: (path) =>
      this.#step("readFile", path, () => {
        const known = this.#read.get(path)
        if (known !== undefined) return known
        const node = this.#find("readFile", path)
        if (node instanceof Directory) throw failure("readFile", path, "EISDIR", "BadResource")
        const text = new TextDecoder().decode(node.data)
        if (this.weakness === "what was read once is there") this.#read.set(path, text)
        return text
      }),
    // There are no links on this disk.
    lstat: (path) =>
      this.#step("lstat", path, () => {
        const node = this.#find("lstat", path)
        const [type, size] = node instanceof File ? ["File", node.data.length] : ["Directory", 0]
        return { type, size: ByteSize.bytes(size as number) } as unknown as FileSystem.File.Info
      }),
    writeFileString: (path, text) =>
      this.#step("writeFile", path, () => {
        this.#create("writeFile", path).data = text === "" ? empty : new TextEncoder().encode(text)
      })
  })
}
