/** Shares of one, as names, percentages and bars. */

const SMALLEST = 0.0005; // that is not rounded to zero
const SPACE = "\u00a0"; // keeps number and sign on one line

/** @param {number} share in [0, 1] @returns {string} as a percentage */
export function percent(share) {
  if (share > 0 && share < SMALLEST) return `< 0.1${SPACE}%`;
  return `${(100 * share).toFixed(share < 0.0995 ? 1 : 0)}${SPACE}%`;
}

/**
 * @param {HTMLElement} list takes the bars as its items
 * @param {{name: string, share: number, colour?: string}[]} entries each with its share in [0, 1]
 */
export function showBars(list, entries) {
  list.replaceChildren(
    ...entries.map(({ name, share, colour }) => {
      const item = document.createElement("li");
      item.append(span("name", name), span("percent", percent(share)), span("bar", ""));
      item.style.setProperty("--share", `${100 * share}%`);
      if (colour) item.style.setProperty("--colour", colour);
      return item;
    }),
  );
}

function span(kind, text) {
  const element = document.createElement("span");
  element.className = kind;
  element.textContent = text;
  return element;
}
