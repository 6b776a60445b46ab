/** The pages of the site, and the links between them. */
import { copyFileSync, existsSync, globSync, mkdirSync, readFileSync, statSync, writeFileSync } from "node:fs"
import { basename, dirname, extname, join, normalize, relative } from "node:path"
import { entries, type Module, moduleOf } from "./Api.ts"
import { escaped, type Heading, highlighted, render } from "./Markdown.ts"
import { navigation } from "./navigation.ts"

const HERE = import.meta.dirname
const { version } = JSON.parse(readFileSync("package.json", "utf8"))

interface Options {
  /** A folder of the package's `.d.ts` files. */
  readonly declarations: string
  readonly to: string
}

interface Page {
  /** Where it is on the site. */
  readonly path: string
  readonly title: string
  readonly html: string
  readonly headings: ReadonlyArray<Heading>
}

/** Where a file of the repository is on the site: a document is a page, a picture itself, and anything else a page that shows it. */
const pathOf = (file: string): string => {
  if (file === "README.md") return "index.html"
  if (file.endsWith(".md")) return file.replace(/\.md$/, ".html")
  return [".png", ".html"].includes(extname(file)) ? file : `files/${file}.html`
}

/** The files of the repository that pages link to. */
type Linked = Set<string>

const linkFrom = (file: string, linked: Linked) => (href: string): string => {
  if (/^\w+:/.test(href) || href.startsWith("#")) return href
  const [path = "", anchor] = href.split("#")
  const target = normalize(join(dirname(file), path))
  if (!existsSync(target)) return href
  linked.add(target)
  const to = relative(dirname(pathOf(file)), pathOf(target))
  return anchor === undefined ? to : `${to}#${anchor}`
}

const documentOf = (file: string, linked: Linked): Page => {
  const { headings, html } = render(readFileSync(file, "utf8"), linkFrom(file, linked))
  return { path: pathOf(file), title: headings[0]?.title ?? basename(file), html, headings }
}

/** A file that is no document, or a folder, as a page. */
const fileOf = (file: string): Page => {
  const isFolder = statSync(file).isDirectory()
  const code = isFolder ? globSync("**/*", { cwd: file }).sort().join("\n") : readFileSync(file, "utf8")
  const html = `<h1>${escaped(file)}</h1>\n<pre><code>${highlighted(code, extname(file).slice(1))}</code></pre>`
  return { path: pathOf(file), title: file, html, headings: [] }
}

const apiPathOf = (name: string): string => `api/${name.replaceAll("/", ".")}.html`

/** A module's page, and those of the modules that it exports under a name. */
const apiOf = (name: string, file: string): ReadonlyArray<Page> => {
  const module = moduleOf(file)
  const own = module.namespaces.map(({ file, name: as }) => ({ as, file, name: `${name}.${as}` }))
  const list = own.map(({ as, name }) => `- [${as}](../${apiPathOf(name)})`).join("\n")
  return [
    {
      path: apiPathOf(name),
      title: name,
      ...render(markdownOf(name, module, list), (href) => href.replace("../api/", ""))
    },
    ...own.flatMap(({ file, name }) => apiOf(name, file))
  ]
}

const markdownOf = (name: string, { doc, exports }: Module, namespaces: string): string =>
  [
    `# ${name}`,
    // Links of doc comments are to names of the code.
    doc,
    namespaces,
    ...exports.flatMap(({ category, code, doc, name }) => [
      `## ${name}`,
      category === "" ? "" : `*${category}*`,
      `\`\`\`ts\n${code}\n\`\`\``,
      doc
    ])
  ].filter((part) => part !== "").join("\n\n")

const menuOf = (path: string, documents: ReadonlyArray<Page>, modules: ReadonlyArray<Page>): string => {
  const link = (to: string, title: string) =>
    `<li><a href="${escaped(relative(dirname(path), to))}"${to === path ? " aria-current=\"page\"" : ""}>${
      escaped(title)
    }</a></li>`
  const titles = new Map(documents.map(({ path, title }) => [path, title]))
  const sections = [
    ...navigation.map(({ pages, title }) => ({
      title,
      links: pages.map(pathOf).map((to) => link(to, titles.get(to)!))
    })),
    { title: "Try it", links: [link("docs/playground/index.html", "The interactive page")] },
    { title: "API", links: modules.map(({ path, title }) => link(path, title)) }
  ]
  return sections.map(({ links, title }) => `<h2>${title}</h2>\n<ul>${links.join("\n")}</ul>`).join("\n")
}

const pageOf = ({ html, path, title }: Page, menu: string): string => {
  const root = relative(dirname(path), ".") || "."
  return `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width">
<title>${escaped(title)}</title>
<link rel="stylesheet" href="${root}/style.css">
<script type="module" src="${root}/search.js" data-root="${root}"></script>
</head>
<body>
<nav>
<p><a href="${root}/index.html">effect-breaker</a> ${escaped(version)}</p>
<input type="search" placeholder="Search" aria-label="Search"><ol id="found"></ol>
${menu}
</nav>
<main>
${html}
</main>
</body>
</html>
`
}

/** Writes the site, but for the interactive page, and returns how many pages it has. */
export const build = ({ declarations, to }: Options): number => {
  const linked: Linked = new Set(navigation.flatMap(({ pages }) => pages))
  const documents: Array<Page> = []
  // A document may lead to another one, which is then a page, too.
  for (const file of linked) if (file.endsWith(".md")) documents.push(documentOf(file, linked))
  const others = [...linked].filter((file) => !file.endsWith(".md"))
  const pictures = others.filter((file) => extname(file) === ".png")
  const files = others.filter((file) => pathOf(file).startsWith("files/")).map(fileOf)
  const modules = entries(declarations).flatMap(({ file, name }) => apiOf(name, file))
  const pages = [...documents, ...modules, ...files]
  const write = (path: string, text: string) => {
    mkdirSync(dirname(join(to, path)), { recursive: true })
    writeFileSync(join(to, path), text)
  }
  for (const page of pages) write(page.path, pageOf(page, menuOf(page.path, documents, modules)))
  for (const picture of pictures) {
    mkdirSync(dirname(join(to, picture)), { recursive: true })
    copyFileSync(picture, join(to, picture))
  }
  for (const file of ["style.css", "search.js"]) copyFileSync(join(HERE, file), join(to, file))
  const index = [...documents, ...modules].flatMap(({ headings, path, title: page }) =>
    headings.map(({ anchor, text, title }) => ({
      page,
      title,
      path: `${path}#${anchor}`,
      text: text.slice(0, MOST_TEXT)
    }))
  )
  write("search.json", JSON.stringify(index))
  return pages.length
}

/** Of each section, for the search. */
const MOST_TEXT = 400
