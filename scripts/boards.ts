/** Writes the dashboard and the alert rules of the package: `npm run boards`. A test checks that they are up to date. */
import { mkdirSync, writeFileSync } from "node:fs"
import { dirname } from "node:path"
import { boardFiles } from "./boards/files.ts"

for (const [path, text] of Object.entries(boardFiles())) {
  mkdirSync(dirname(path), { recursive: true })
  writeFileSync(path, text)
}
