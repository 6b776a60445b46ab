/** Prints the SQL that creates the tables of circuits: `npm run --silent schema -- postgres [prefix [schema]]`. */
import { flavours, print } from "../src/Storage/SqlSchema.ts"

const [name, prefix, schema] = process.argv.slice(2)
const flavour = flavours.find((flavour) => flavour === name)
if (flavour === undefined) {
  console.error(
    `Of which database? One of ${flavours.join(", ")}: npm run --silent schema -- postgres [prefix [schema]]`
  )
  process.exitCode = 1
} else {
  process.stdout.write(print(flavour, { prefix, schema }))
}
