/** Layers with options from a `Config`. */
import * as Cause from "effect/Cause"
import * as Config from "effect/Config"
import * as Effect from "effect/Effect"
import * as Layer from "effect/Layer"
import { configErrorOf } from "./ConfigErrors.ts"

/**
 * A layer of the options that config gives. Options that it refuses with a `RangeError` are an error of config, whether they are
 * refused when the layer is made or when it is built.
 */
export const layerFrom = <Options, A, R>(
  options: Config.Wrap<Options>,
  layer: (options: Options) => Effect.Effect<Layer.Layer<A, Config.ConfigError, R>, Config.ConfigError>
): Layer.Layer<A, Config.ConfigError, R> =>
  Layer.catchCause(Layer.unwrap(Effect.flatMap(Config.unwrap(options), layer)), (cause) => {
    const refused = cause.reasons.find((reason) => Cause.isDieReason(reason) && reason.defect instanceof RangeError)
    return Layer.effectContext(
      refused !== undefined && Cause.isDieReason(refused)
        ? Effect.fail(configErrorOf((refused.defect as RangeError).message))
        : Effect.failCause(cause)
    )
  })
