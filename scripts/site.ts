/**
 * Builds the documentation as a site of static files: the README, `docs`, the API from the declarations, a
 * search and the interactive page. `npm run site` writes it to `site`; `-- <folder>` to another one.
 */
import { execFileSync } from "node:child_process"
import { cpSync, mkdtempSync, rmSync } from "node:fs"
import { tmpdir } from "node:os"
import { join } from "node:path"
import { build } from "./site/Site.ts"

const [to = "site"] = process.argv.slice(2)
const declarations = mkdtempSync(join(tmpdir(), "effect-breaker-declarations-"))
try {
  execFileSync(process.execPath, [
    "node_modules/typescript/bin/tsc",
    "--project",
    "tsconfig.build.json",
    "--emitDeclarationOnly",
    "--declarationMap",
    "false",
    "--outDir",
    declarations
  ])
  rmSync(to, { recursive: true, force: true })
  const pages = build({ declarations, to })
  cpSync("docs/playground", join(to, "docs/playground"), { recursive: true })
  console.log(`${pages} pages in ${to}`)
} finally {
  rmSync(declarations, { recursive: true, force: true })
}
