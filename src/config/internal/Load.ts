/** One reading of the file and of the environment. */
import type * as ConfigProvider from "effect/ConfigProvider"
import * as Effect from "effect/Effect"
import type { Decoded } from "./Decode.ts"
import { readService, readSwitches } from "./Environment.ts"
import { type Loaded, settingsFor, sharedVariables } from "./Live.ts"
import { BreakerConfigError, type Problem } from "./Problem.ts"
import { type Settings, settingsProblems } from "./Settings.ts"

/** A file that was read, with what is wrong with it. */
export interface ReadFile {
  readonly source: string
  readonly file: Decoded
  readonly problems: ReadonlyArray<Problem>
}

/** Reads the environment of the file's services and of these, and fails with all that is wrong with it and with the file. */
export const load = Effect.fnUntraced(function*(
  provider: ConfigProvider.ConfigProvider,
  { file, problems, source }: ReadFile,
  services: Iterable<string>
): Effect.fn.Return<Loaded, BreakerConfigError> {
  const found = [...problems]
  const switches = yield* readSwitches(provider, found)
  const environment = new Map<string, Settings>()
  for (const service of new Set([...file.services.keys(), ...services])) {
    environment.set(service, yield* readService(provider, service, found))
  }
  found.push(...sharedVariables(environment))
  const loaded: Loaded = { source, file, switches, environment }
  // The file by itself was checked when it was read.
  for (const [service, settings] of environment) {
    if (found.length === 0 && settings.size > 0) found.push(...settingsProblems(settingsFor(loaded, service)))
  }
  return found.length === 0 ? loaded : yield* Effect.fail(new BreakerConfigError({ problems: found }))
})
