/** `npm run pages` bundles the pages of `pages/` into the modules that serve them. */
import { build } from "esbuild"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
import { join } from "node:path"
import { fileURLToPath } from "node:url"

const root = fileURLToPath(new URL("..", import.meta.url))

const bundled = async (entry: string): Promise<string> => {
  const { outputFiles: [file] } = await build({
    absWorkingDir: root,
    entryPoints: [entry],
    bundle: true,
    write: false,
    minify: true,
    format: "iife",
    target: "es2022",
    legalComments: "inline",
    logLevel: "error"
  })
  return file!.text.trim()
}

const hashOf = (text: string) => `'sha256-${createHash("sha256").update(text).digest("base64")}'`

interface Page {
  readonly script: string
  readonly style: string
  readonly html: string
}

/** A page as one file. */
const pageOf = async (name: string): Promise<Page> => {
  const script = (await bundled(`pages/${name}/main.ts`)).replaceAll("</script", "<\\/script")
  const style = await bundled(`pages/${name}/page.css`)
  // Functions, because a replacement text gives `$` a meaning.
  const html = readFileSync(new URL(`../pages/${name}/page.html`, import.meta.url), "utf8")
    .replace("/*STYLE*/", () => style)
    .replace("/*SCRIPT*/", () => script)
  return { script, style, html }
}

/** The dashboard's page as a module. Its policy allows this script and this style, and requests to the page's own origin. */
const dashboard = async (): Promise<string> => {
  const { html, script, style } = await pageOf("dashboard")
  const policy = [
    "default-src 'none'",
    `script-src ${hashOf(script)}`,
    `style-src ${hashOf(style)}`,
    "connect-src 'self'",
    "base-uri 'none'",
    "form-action 'none'",
    "frame-ancestors 'none'"
  ].join("; ")
  return [
    "/** Made of pages/dashboard by `npm run pages`. */",
    `export const policy: string = ${JSON.stringify(policy)}`,
    `export const page: string = ${JSON.stringify(html)}`,
    ""
  ].join("\n")
}

/** The files that this program writes, by their path from the repository's root. */
export const made: Readonly<Record<string, () => Promise<string>>> = {
  "src/dashboard/internal/page.ts": dashboard,
  "docs/playground/index.html": async () => (await pageOf("playground")).html
}

if (process.argv[1] === fileURLToPath(import.meta.url)) {
  for (const [path, make] of Object.entries(made)) writeFileSync(join(root, path), await make())
}
