import type { Contender } from "./contender.ts"

/** Imports a contender only in the process that runs it, so that no other contender's code is there. */
export const load = async (name: string): Promise<Contender> => {
  switch (name) {
    case "ours":
    case "ours-alone":
    case "ours-unmetered":
    case "ours-unthrottled": {
      const { inHand, memory } = await import("./ours.ts")
      return inHand(await memory())
    }
    case "ours-service":
    case "ours-service-alone": {
      const { byService, memory } = await import("./ours.ts")
      return byService(await memory())
    }
    case "ours-throttled": {
      const { inHand, memory } = await import("./ours.ts")
      return inHand(await memory(), { throttle: {} })
    }
    case "ours-metered": {
      const { inHand, memory, meter } = await import("./ours.ts")
      await meter()
      return inHand(await memory())
    }
    case "ours-synced": {
      const [{ inHand }, { distant }] = await Promise.all([import("./ours.ts"), import("./synced.ts")])
      return inHand(await distant())
    }
    case "ours-service-synced": {
      const [{ byService }, { distant }] = await Promise.all([import("./ours.ts"), import("./synced.ts")])
      return byService(await distant())
    }
    case "effect":
      return (await import("./effect.ts")).effectOwn
    case "cockatiel":
      return (await import("./cockatiel.ts")).cockatiel
    case "cockatiel-effect":
      return (await import("./cockatiel.ts")).cockatielEffect
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
