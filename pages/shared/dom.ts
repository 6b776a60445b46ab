/** Elements are made by hand and text is set as text, because names and reasons may hold anything, also markup. */

type Child = Node | string | null | undefined | false

interface Props {
  readonly [name: string]: string | number | boolean | ((event: Event) => void) | undefined
}

/** An element with attributes, listeners (`on…`) and children. */
export const h = <Tag extends keyof HTMLElementTagNameMap>(
  tag: Tag,
  props: Props = {},
  ...children: ReadonlyArray<Child>
): HTMLElementTagNameMap[Tag] => {
  const element = document.createElement(tag)
  for (const [name, value] of Object.entries(props)) {
    if (typeof value === "function") element.addEventListener(name.slice(2), value)
    else if (value === true) element.setAttribute(name, "")
    else if (value !== false && value !== undefined) element.setAttribute(name, String(value))
  }
  element.append(...children.filter((child) => child !== null && child !== undefined && child !== false))
  return element
}

export const byId = (id: string): HTMLElement => {
  const element = document.getElementById(id)
  if (element === null) throw new Error(`the page has no element with the id ${id}`)
  return element
}

/** Replaces an element's children, and nothing if the text is the same, so that a screen reader stays where it is. */
export const setText = (element: Element, text: string): void => {
  if (element.textContent !== text) element.textContent = text
}
