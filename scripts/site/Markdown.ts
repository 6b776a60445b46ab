/** Markdown as HTML: anchors as GitHub makes them, links to the pages of the site, and code in colours. */
import { Marked } from "marked"

export interface Heading {
  readonly anchor: string
  readonly title: string
  /** The text from here to the next heading, for the search. */
  text: string
}

export const escaped = (text: string): string =>
  text.replaceAll("&", "&amp;").replaceAll("<", "&lt;").replaceAll(">", "&gt;").replaceAll("\"", "&quot;")

export const anchorOf = (heading: string): string =>
  heading.toLowerCase().replaceAll(/[^\p{L}\p{N}\s_-]/gu, "").replaceAll(" ", "-")

const TOKENS = new RegExp(
  [
    /(?<comment>\/\*[^]*?\*\/|\/\/.*)/,
    /(?<string>"(?:[^"\\\n]|\\.)*"|`(?:[^`\\]|\\.)*`)/,
    /\b(?<keyword>as|async|await|class|const|declare|else|export|extends|for|from|function|if|import|in|interface|keyof|let|new|of|readonly|return|static|type|typeof|yield)\b/
  ].map(({ source }) => source).join("|"),
  "g"
)

/** TypeScript in colours; anything else as it is. */
export const highlighted = (code: string, language: string): string => {
  if (language !== "ts") return escaped(code)
  let html = ""
  let end = 0
  for (const { 0: token, groups, index } of code.matchAll(TOKENS)) {
    const kind = Object.entries(groups!).find(([, matched]) => matched !== undefined)![0]
    html += `${escaped(code.slice(end, index))}<span class="${kind}">${escaped(token)}</span>`
    end = index + token.length
  }
  return html + escaped(code.slice(end))
}

const plain = (html: string): string =>
  html.replaceAll(/<[^>]+>/g, "").replaceAll(/&(\w+|#39);/g, (entity, name) => ENTITIES[name] ?? entity)

const ENTITIES: Readonly<Record<string, string>> = { amp: "&", lt: "<", gt: ">", quot: "\"", "#39": "'" }

/** `linkTo` says where a link of the document leads on the site. */
export const render = (
  markdown: string,
  linkTo: (href: string) => string
): { readonly html: string; readonly headings: ReadonlyArray<Heading> } => {
  const headings: Array<Heading> = []
  const note = (text: string) => {
    const last = headings.at(-1)
    if (last !== undefined) last.text += `${text} `
  }
  const marked = new Marked({
    renderer: {
      heading({ depth, tokens }) {
        const html = this.parser.parseInline(tokens)
        const title = plain(html)
        const anchor = anchorOf(title)
        headings.push({ anchor, title, text: "" })
        return `<h${depth} id="${escaped(anchor)}"><a href="#${escaped(anchor)}">${html}</a></h${depth}>\n`
      },
      paragraph({ tokens }) {
        const html = this.parser.parseInline(tokens)
        note(plain(html))
        return `<p>${html}</p>\n`
      },
      code({ lang = "", text }) {
        return `<pre><code>${highlighted(text, lang.split(" ")[0]!)}</code></pre>\n`
      },
      table(token) {
        const row = (cells: typeof token.header, tag: string) =>
          `<tr>${
            cells.map(({ tokens }) => {
              const html = this.parser.parseInline(tokens)
              note(plain(html))
              return `<${tag}>${html}</${tag}>`
            }).join("")
          }</tr>`
        const body = token.rows.map((cells) => row(cells, "td")).join("\n")
        return `<div class="table"><table><thead>${
          row(token.header, "th")
        }</thead><tbody>${body}</tbody></table></div>\n`
      },
      text(token) {
        // Of an item of a list: a paragraph's text comes with the paragraph.
        const html = "tokens" in token && token.tokens !== undefined
          ? this.parser.parseInline(token.tokens)
          : token.text
        if ("tokens" in token && token.tokens !== undefined) note(plain(html))
        return html
      },
      link({ href, title, tokens }) {
        const about = title === null || title === undefined ? "" : ` title="${escaped(title)}"`
        return `<a href="${escaped(linkTo(href))}"${about}>${this.parser.parseInline(tokens)}</a>`
      },
      image({ href, text }) {
        return `<img src="${escaped(linkTo(href))}" alt="${escaped(text)}">`
      }
    }
  })
  return { html: marked.parse(markdown, { async: false }), headings }
}
