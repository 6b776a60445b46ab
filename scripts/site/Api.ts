/** The public declarations of a module with their doc comments, from its `.d.ts`. */
import { existsSync, globSync, readFileSync } from "node:fs"
import { dirname, join } from "node:path"

export interface Export {
  readonly name: string
  readonly category: string
  /** Its doc comment, as Markdown. */
  readonly doc: string
  readonly code: string
}

export interface Module {
  readonly doc: string
  /** Modules that it exports under a name. */
  readonly namespaces: ReadonlyArray<{ readonly name: string; readonly file: string }>
  readonly exports: ReadonlyArray<Export>
}

/** The text of a doc comment as Markdown, without its tags. */
const textOf = (comment: string): { readonly text: string; readonly category: string } => {
  const lines = comment.replace(/^\/\*\*/, "").replace(/\*\/\s*$/, "").split("\n").map((line) =>
    line.replace(/^\s*\* ?/, "")
  )
  const category = lines.join("\n").match(/^@category (.+)$/m)?.[1] ?? ""
  const text = lines.map((line) => line.replace(/^@see /, "See ")).filter((line) => !line.startsWith("@")).join("\n")
  return { text: text.replaceAll(/\{@link ([^}]+)\}/g, "`$1`").trim(), category }
}

const DECLARATION =
  /^(?:(?<doc>\/\*\*(?:(?!\*\/)[^])*\*\/)\n)?(?<code>export (?:declare )?(?:abstract )?(?:class|const|function|interface|type) (?<name>\w+)[^]*?)(?=\n(?:\/\*\*|export |declare |import |\/\/#)|\n*$(?![^]))/gm

const FROM = /^export (?:type )?(?:\* as (?<namespace>\w+)|(?<all>\*)|\{(?<names>[^}]+)\}) from "(?<file>[^"]+)";/gm

/** Follows what a module exports from others. */
export const moduleOf = (file: string): Module => {
  const source = readFileSync(file, "utf8")
  const namespaces: Array<Module["namespaces"][number]> = []
  const found = new Map<string, Export>()
  const add = (one: Export) => {
    const before = found.get(one.name)
    // A type and a value, or overloads, of one name.
    found.set(
      one.name,
      before === undefined ? one : { ...before, doc: before.doc || one.doc, code: `${before.code}\n${one.code}` }
    )
  }
  for (const { groups } of source.matchAll(DECLARATION)) {
    const { category, text } = textOf(groups!["doc"] ?? "")
    add({ name: groups!["name"]!, category, doc: text, code: groups!["code"]!.trim() })
  }
  for (const { groups } of source.matchAll(FROM)) {
    const target = join(dirname(file), groups!["file"]!.replace(/\.[jt]s$/, ".d.ts"))
    if (!existsSync(target)) continue
    if (groups!["namespace"] !== undefined) {
      namespaces.push({ name: groups!["namespace"], file: target })
      continue
    }
    const theirs = moduleOf(target)
    const names = groups!["names"]?.split(",").map((name) => name.replace(/^\s*type /, "").trim())
    for (const one of theirs.exports) {
      const named = names?.find((name) => name.split(" as ")[0] === one.name)
      if (names === undefined) add(one)
      else if (named !== undefined) add({ ...one, name: named.split(" as ").at(-1)! })
    }
  }
  const doc = /^\/\*\*(?:(?!\*\/)[^])*\*\//.exec(source)?.[0] ?? ""
  return { doc: textOf(doc).text, namespaces, exports: [...found.values()] }
}

/** The modules that package.json exports, by how they are imported. */
export const entries = (declarations: string): ReadonlyArray<{ readonly name: string; readonly file: string }> => {
  const { exports, name } = JSON.parse(readFileSync("package.json", "utf8"))
  return Object.entries<string | null>(exports).flatMap(([subpath, target]) => {
    if (target?.endsWith(".js") !== true) return []
    const pattern = target.replace("./dist/", "").replace(/\.js$/, ".d.ts")
    return globSync(pattern, { cwd: declarations }).sort().map((file) => ({
      subpath: subpath.replace("*", file.slice(pattern.indexOf("*"), file.length - ".d.ts".length)),
      file: join(declarations, file)
    }))
  }).filter(({ subpath }) => exports[subpath] !== null)
    .map(({ file, subpath }) => ({ name: subpath.replace(".", name), file }))
}
