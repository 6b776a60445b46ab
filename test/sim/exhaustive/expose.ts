/**
 * For `node --import`: lets the search read private fields, so that it can tell states apart. Loads the source with
 * `$private_name` where it says `#name`.
 */
import { registerHooks } from "node:module"

const EXPOSED = /\/(src\/(internal|core|testing\/internal)|test\/sim)\/[\w/]+\.ts$/

registerHooks({
  load: (url, context, next) => {
    const loaded = next(url, context)
    if (!EXPOSED.test(url)) return loaded
    const { source } = loaded
    const text = typeof source === "string" ? source : new TextDecoder().decode(source)
    return { ...loaded, source: text.replaceAll(/(?<=[\s.(!])#(?=[a-z])/g, "$$private_") }
  }
})
