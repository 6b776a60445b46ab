/**
 * `npm run former -- --of <checkout>`: keeps that version's process of a fleet as `test/fleet/former.mjs.gz`, which the test of rolling
 * upgrades runs beside this version's. To be run with each release. It is kept here because a copy of the repository may have no
 * history to make it from.
 */
import { build } from "esbuild"
import { writeFileSync } from "node:fs"
import { resolve } from "node:path"
import { parseArgs } from "node:util"
import { gzipSync } from "node:zlib"

const { values } = parseArgs({ options: { of: { type: "string", default: "." } } })

const { outputFiles } = await build({
  absWorkingDir: resolve(values.of),
  entryPoints: ["test/fleet/worker.ts"],
  bundle: true,
  minify: true,
  write: false,
  platform: "node",
  packages: "external",
  format: "esm"
})
writeFileSync("test/fleet/former.mjs.gz", gzipSync(outputFiles[0]!.contents, { level: 9 }))
