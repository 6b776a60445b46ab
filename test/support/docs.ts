/**
 * Documentation as tests. A fence of TypeScript, in Markdown or in a doc comment, is a module of its own. Every fence
 * must type-check. A fence that is marked `import.meta.vitest` is also run: each `// => expected` is compared with the
 * expression or constant that ends on that line.
 */
import { execFile } from "node:child_process"
import { randomUUID } from "node:crypto"
import { mkdir, rm, writeFile } from "node:fs/promises"
import { join, resolve } from "node:path"
import { pathToFileURL } from "node:url"
import { promisify } from "node:util"
import { parseSync, transformSync, Visitor } from "rolldown/utils"

export interface Fence {
  readonly file: string
  /** The line number of the fence's first line of code. */
  readonly line: number
  readonly code: string
  readonly runs: boolean
}

export const root = resolve(import.meta.dirname, "../..")
// Inside the package, so that the imports of fences resolve. One per process, so that two runs do not share files.
const cache = join(root, "node_modules/.cache/effect-breaker-docs", String(process.pid))
export const clean = () => rm(cache, { recursive: true, force: true })

const opening = /^(\s*(?:\* )?)```(ts|typescript)\b(.*)$/

export const fencesOf = (file: string, text: string): ReadonlyArray<Fence> => {
  const fences: Array<Fence> = []
  const lines = text.split("\n")
  for (let i = 0; i < lines.length; i++) {
    const opened = opening.exec(lines[i] ?? "")
    if (opened === null) continue
    const [, indent = "", , info = ""] = opened
    const line = i + 2
    const code: Array<string> = []
    for (i++; i < lines.length && lines[i] !== `${indent}\`\`\``; i++) {
      code.push((lines[i] ?? "").slice(indent.length))
    }
    if (i === lines.length) throw new Error(`${file}:${line - 1}: the fence never ends`)
    fences.push({ file, line, code: code.join("\n"), runs: info.trim() === "import.meta.vitest" })
  }
  return fences
}

interface Insertion {
  readonly at: number
  readonly text: string
}

interface Claim {
  readonly where: string
  readonly line: number
  readonly expected: string
}

/** The fence as a module that throws where a claim is wrong. */
const instrument = (fence: Fence): string => {
  const { comments, errors, program } = parseSync("fence.ts", fence.code, { lang: "ts" })
  if (errors[0] !== undefined) throw new Error(`${fence.file}:${fence.line}: ${errors[0].message}`)
  const lineAt = (offset: number) => fence.code.slice(0, offset).split("\n").length

  const claims = new Map<number, Claim>()
  for (const comment of comments) {
    const claimed = /^ => (.+)$/.exec(comment.value)
    if (comment.type !== "Line" || claimed?.[1] === undefined) continue
    const line = lineAt(comment.start)
    claims.set(line, { line, where: `${fence.file}:${fence.line + line - 1}`, expected: claimed[1] })
  }

  const insertions: Array<Insertion> = []
  const take = (end: number): Claim | undefined => {
    const claim = claims.get(lineAt(end))
    if (claim !== undefined) claims.delete(claim.line)
    return claim
  }
  const wrap = (claim: Claim, start: number, end: number) =>
    insertions.push(
      { at: start, text: `expectation(${JSON.stringify(claim.where)}, (` },
      { at: end, text: `), (${claim.expected}))` }
    )
  // Inner statements come first, so a block that ends on a claimed line does not take the claim of its last statement.
  new Visitor({
    "ExpressionStatement:exit": ({ end, expression }) => {
      const claim = take(end)
      if (claim === undefined) return
      const logged = expression.type === "CallExpression" &&
          fence.code.slice(expression.callee.start, expression.callee.end) === "console.log"
        ? expression.arguments[0]
        : undefined
      const subject = logged ?? expression
      wrap(claim, subject.start, subject.end)
    },
    "VariableDeclarator:exit": ({ end, init }) => {
      if (init === null) return
      const claim = take(end)
      if (claim !== undefined) wrap(claim, init.start, init.end)
    }
  }).visit(program)
  for (const claim of claims.values()) throw new Error(`${claim.where}: no expression ends before this claim`)

  return insertions
    .sort((a, b) => b.at - a.at)
    .reduce((code, { at, text }) => code.slice(0, at) + text + code.slice(at), fence.code)
}

const source = (subpath: string) => pathToFileURL(join(root, "src", subpath)).href

/**
 * Replaces imports of the package by paths of its source files, because Node does not resolve the package's own name to
 * its sources.
 */
const fromSources = (code: string): string =>
  code
    .replaceAll(/(from|import) "effect-breaker"/g, `$1 "${source("index.ts")}"`)
    .replaceAll(
      /(from|import) "effect-breaker\/([^"]+)"/g,
      (_, keyword, path) => `${keyword} "${source(`${path}.ts`)}"`
    )

const fileOf = (fence: Fence, extension: string) =>
  join(cache, `${fence.file.replaceAll(/[^\w.]/g, "-")}-${fence.line}.${extension}`)

export const run = async (fence: Fence): Promise<void> => {
  const { code, errors } = transformSync("fence.ts", fromSources(instrument(fence)), { lang: "ts" })
  if (errors[0] !== undefined) throw new Error(`${fence.file}:${fence.line}: ${errors[0].message}`)
  await mkdir(cache, { recursive: true })
  const path = fileOf(fence, "mjs")
  const expectations = pathToFileURL(join(import.meta.dirname, "expectation.ts")).href
  await writeFile(path, `import { expectation } from "${expectations}"\n${code}`)
  // A module is evaluated once per address.
  await import(/* @vite-ignore */ `${pathToFileURL(path).href}?${randomUUID()}`)
}

/** The compiler's errors in the fences, with the lines of the documents. Empty if there are none. */
export const typeErrors = async (fences: ReadonlyArray<Fence>): Promise<ReadonlyArray<string>> => {
  const directory = join(cache, "types")
  await mkdir(directory, { recursive: true })
  const names = fences.map((_, index) => `fence${index}.ts`)
  await Promise.all(fences.map((fence, index) => writeFile(join(directory, names[index]!), fence.code)))
  const config = {
    extends: join(root, "tsconfig.json"),
    compilerOptions: {
      rootDir: root,
      noUnusedLocals: false,
      paths: { "effect-breaker": [join(root, "src/index.ts")], "effect-breaker/*": [join(root, "src/*.ts")] }
    },
    include: [],
    files: names
  }
  await writeFile(join(directory, "tsconfig.json"), JSON.stringify(config))
  const tsc = [join(root, "node_modules/typescript/bin/tsc"), "-p", directory, "--pretty", "false"]
  const output = await promisify(execFile)(process.execPath, tsc, { cwd: directory })
    .then(() => "", (failure: { readonly stdout: string }) => failure.stdout)
  return output.split("\n").filter((line) => line !== "").map((line) =>
    line.replace(/^.*fence(\d+)\.ts\((\d+),/, (_, index, at) => {
      const fence = fences[Number(index)]!
      return `${fence.file}(${fence.line + Number(at) - 1},`
    })
  )
}
