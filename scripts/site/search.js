// Finds sections by words. The index is loaded with the first key.
const root = document.querySelector("script[data-root]").dataset.root
const input = document.querySelector("input[type=search]")
const found = document.querySelector("#found")
let index

const scoreOf = (words, { page, text, title }) => {
  const [inTitle, inPage, inText] = [title, page, text].map((part) => part.toLowerCase())
  let score = 0
  for (const word of words) {
    const here = inTitle.includes(word) ? 4 : inPage.includes(word) ? 2 : inText.includes(word) ? 1 : 0
    if (here === 0) return 0
    score += here
  }
  return score
}

input.addEventListener("input", async () => {
  index ??= fetch(`${root}/search.json`).then((response) => response.json())
  const sections = await index
  const words = input.value.toLowerCase().split(/\s+/).filter((word) => word !== "")
  const best = words.length === 0 ? [] : sections
    .map((section) => ({ section, score: scoreOf(words, section) }))
    .filter(({ score }) => score > 0)
    .sort((a, b) => b.score - a.score)
    .slice(0, 12)
  found.replaceChildren(...best.map(({ section: { page, path, title } }) => {
    const link = document.createElement("a")
    link.href = `${root}/${path}`
    link.textContent = title === page ? page : `${page}: ${title}`
    const item = document.createElement("li")
    item.append(link)
    return item
  }))
})
