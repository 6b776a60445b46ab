/** `schema`: the tables of circuits as SQL. */
import * as Option from "effect/Option"
import { type Flavour, print as sqlOf } from "../../Storage/SqlSchema.ts"
import { print } from "./Session.ts"
import type { StorageFlags } from "./StorageUrl.ts"

export const schema = ({ prefix, schema }: StorageFlags, flavour: Flavour) =>
  print(sqlOf(flavour, { prefix: Option.getOrUndefined(prefix), schema: Option.getOrUndefined(schema) }).trimEnd())
