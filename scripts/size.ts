/**
 * Prints how large each import of the package is in a bundle: its own code, minified and compressed, without Effect and the drivers.
 * Modules that an import loads later, by `import()`, are included. `-- --json` prints only the results. `-- --accept` writes the
 * bounds that a test holds, 10 % above the sizes.
 */
import { build } from "esbuild"
import { globSync, readFileSync, writeFileSync } from "node:fs"
import { brotliCompressSync, gzipSync } from "node:zlib"

const BOUNDS = new URL("sizes.json", import.meta.url)
const HEADROOM = 1.1

export interface Size {
  /** As it is imported: `effect-breaker`, `effect-breaker/http/HttpClient`. */
  readonly name: string
  readonly minifiedBytes: number
  readonly gzipBytes: number
  readonly brotliBytes: number
}

/** The most bytes of each import, compressed by Brotli. */
export const bounds = (): Readonly<Record<string, number>> => JSON.parse(readFileSync(BOUNDS, "utf8"))

/** The sources that the `exports` of package.json lead to, by the name of their import. */
const imports = (): ReadonlyArray<readonly [name: string, source: string]> => {
  const { exports, name } = JSON.parse(readFileSync("package.json", "utf8"))
  return Object.entries<string | null>(exports).flatMap(([subpath, target]) => {
    if (target?.endsWith(".js") !== true) return []
    const sources = globSync(target.replace("./dist/", "src/").replace(/\.js$/, ".ts")).sort()
    return sources.map((source) => {
      const path = subpath.includes("*") ? `./${source.slice("src/".length, -".ts".length)}` : subpath
      return [path, source] as const
    })
  }).filter(([path]) => exports[path] !== null)
    .map(([path, source]) => [path.replace(".", name), source] as const)
}

const sizeOf = async (name: string, source: string): Promise<Size> => {
  const { outputFiles: [bundle] } = await build({
    entryPoints: [source],
    bundle: true,
    minify: true,
    write: false,
    format: "esm",
    platform: "node",
    target: "node22",
    packages: "external"
  })
  const code = bundle!.contents
  return {
    name,
    minifiedBytes: code.byteLength,
    gzipBytes: gzipSync(code).byteLength,
    brotliBytes: brotliCompressSync(code).byteLength
  }
}

export const sizes = (): Promise<ReadonlyArray<Size>> =>
  Promise.all(imports().map(([name, source]) => sizeOf(name, source)))

const print = (sizes: ReadonlyArray<Size>) => {
  const kilobytes = (bytes: number) => `${(bytes / 1000).toFixed(1)} kB`.padStart(10)
  const width = Math.max(...sizes.map(({ name }) => name.length))
  console.log(`${"import".padEnd(width)}${["minified", "gzip", "brotli"].map((title) => title.padStart(10)).join("")}`)
  for (const { brotliBytes, gzipBytes, minifiedBytes, name } of sizes) {
    console.log(`${name.padEnd(width)}${[minifiedBytes, gzipBytes, brotliBytes].map(kilobytes).join("")}`)
  }
}

if (import.meta.main) {
  const found = await sizes()
  if (process.argv.includes("--json")) console.log(JSON.stringify(found))
  else print(found)
  if (process.argv.includes("--accept")) {
    const accepted = found.map(({ brotliBytes, name }) => [name, Math.ceil(brotliBytes * HEADROOM / 100) * 100])
    writeFileSync(BOUNDS, `${JSON.stringify(Object.fromEntries(accepted), undefined, 2)}\n`)
  }
}
