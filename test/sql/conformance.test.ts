import { databases } from "./databases.ts"
import { conforms } from "./laws.ts"

for (const database of databases) conforms(database)
