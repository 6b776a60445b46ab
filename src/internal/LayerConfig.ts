/** Layers with options from a `Config`. */
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { rangeErrorsFail } from "./ConfigErrors.ts"

/** A layer of the options that config gives. Options that the layer refuses with a `RangeError` are an error of config. */
export const layerFrom = <Options, A>(
  options: Config.Wrap<Options>,
  layer: (options: Options) => Effect.Effect<Layer.Layer<A, Config.ConfigError>, Config.ConfigError>
): Layer.Layer<A, Config.ConfigError> => Layer.unwrap(rangeErrorsFail(Effect.flatMap(Config.unwrap(options), layer)))
