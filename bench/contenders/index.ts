import type { Contender } from "./contender.ts"

/** Each is imported only where it runs: nobody's code is in the process of another. */
export const load = async (name: string): Promise<Contender> => {
  switch (name) {
    case "ours":
      return (await import("./ours.ts")).ours
    case "ours-service":
      return (await import("./ours.ts")).oursService
    case "ours-synced":
      return (await import("./synced.ts")).oursSynced()
    case "ours-alone":
      return (await import("./synced.ts")).oursAlone()
    case "effect":
      return (await import("./effect.ts")).effectOwn
    case "cockatiel":
      return (await import("./cockatiel.ts")).cockatiel
    case "opossum":
      return (await import("./opossum.ts")).opossum
    case "floor":
      return (await import("./floors.ts")).floor
    case "timeout-alone":
      return (await import("./floors.ts")).timeoutAlone
    case "map-get":
      return (await import("./floors.ts")).mapGet
    default:
      throw new Error(`no contender ${name}`)
  }
}
