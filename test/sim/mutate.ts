/** For `node --import`: removes the rule with the number `SIM_MUTATION` from the source while it is loaded. */
import { globSync, readFileSync } from "node:fs"
import { registerHooks } from "node:module"
import { fileURLToPath, pathToFileURL } from "node:url"
import { mutations } from "./mutations.ts"

const { from, rule, to } = mutations[Number(process.env["SIM_MUTATION"])]!

const targets = globSync(fileURLToPath(new URL("../../src/**/*.ts", import.meta.url))).flatMap((file) =>
  Array.from({ length: readFileSync(file, "utf8").split(from).length - 1 }, () => pathToFileURL(file).href)
)
if (targets.length !== 1) throw new Error(`The source has ${targets.length} places for: ${rule}`)

registerHooks({
  load: (url, context, next) => {
    const loaded = next(url, context)
    return url === targets[0]
      ? { ...loaded, source: readFileSync(fileURLToPath(url), "utf8").replace(from, () => to) }
      : loaded
  }
})
