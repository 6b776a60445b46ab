/** `npm run pages` bundles the pages of `pages/` into the modules that serve them. */
import { build } from "esbuild"
import { createHash } from "node:crypto"
import { readFileSync, writeFileSync } from "node:fs"
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

/** The dashboard's page as a module. Its policy allows this script and this style, and requests to the page's own origin. */
export const dashboardModule = async (): Promise<string> => {
  const script = (await bundled("pages/dashboard/main.ts")).replaceAll("</script", "<\\/script")
  const style = await bundled("pages/dashboard/page.css")
  // A function, because a replacement text gives `$` a meaning.
  const html = readFileSync(new URL("../pages/dashboard/page.html", import.meta.url), "utf8")
    .replace("/*STYLE*/", () => style)
    .replace("/*SCRIPT*/", () => script)
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

export const DASHBOARD_MODULE = new URL("../src/dashboard/internal/page.ts", import.meta.url)

if (process.argv[1] === fileURLToPath(import.meta.url)) writeFileSync(DASHBOARD_MODULE, await dashboardModule())
