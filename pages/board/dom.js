// Elements of the page. Text from a run only ever becomes a text node here, so that nothing in it acts as markup.

/**
 * An element with a class, a text and properties: element("span", "ls-word", "paused").
 * @template {keyof HTMLElementTagNameMap} Tag
 * @param {Tag} tag
 * @returns {HTMLElementTagNameMap[Tag]}
 */
export function element(tag, className = "", text = "", properties = {}) {
  const node = document.createElement(tag);
  if (className) node.className = className;
  if (text) node.textContent = text;
  return Object.assign(node, properties);
}

/** The name of a button: what it does, and the word that stands on it, for those who call it by that. */
export function nameOf(word, does) {
  const spoken = does.toLowerCase().split(/\W+/).includes(word.toLowerCase());
  return spoken || !/^[\w ]+$/.test(word) ? does : `${word} – ${does}`;
}

/** Write a text only where it changed: an untouched node costs no layout. */
export function write(node, text) {
  if (node.textContent !== text) node.textContent = text;
}
