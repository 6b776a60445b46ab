/** Prints the JSON Schema of configuration files: `npm run --silent schema:config > config.schema.json`. */
import { jsonSchema } from "../src/config/internal/FileSchema.ts"

console.log(JSON.stringify(jsonSchema(), undefined, 2))
