/** Tabs after the ARIA pattern: one tab stop, arrow keys, Home and End; tabs that cannot be used say why. */

export class Tabs {
  #tabs;
  #onSelect;

  /**
   * @param {HTMLElement} list the element with role "tablist"
   * @param {(name: string) => void} onSelect called with the end of the selected tab's id, "classify" of "tab-classify"
   */
  constructor(list, onSelect) {
    this.#tabs = [...list.querySelectorAll("[role=tab]")];
    this.#onSelect = onSelect;
    for (const tab of this.#tabs) {
      tab.tabIndex = -1;
      tab.addEventListener("click", () => this.#choose(tab));
    }
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * @param {string} name
   * @param {HTMLElement} reason says why the tab cannot be used: pointed at as its tooltip, in the page while it has focus
   */
  disable(name, reason) {
    const tab = this.#named(name);
    tab.setAttribute("aria-disabled", "true");
    tab.setAttribute("aria-describedby", reason.id);
    tab.title = reason.textContent;
    tab.addEventListener("focus", () => (reason.hidden = false)); // keyboards and fingers open no tooltip
    tab.addEventListener("blur", () => (reason.hidden = true));
  }

  /** @param {string} name */
  select(name) {
    for (const tab of this.#tabs) {
      const selected = tab === this.#named(name);
      tab.setAttribute("aria-selected", String(selected));
      tab.tabIndex = selected ? 0 : -1;
      document.getElementById(tab.getAttribute("aria-controls")).hidden = !selected;
    }
    this.#onSelect(name);
  }

  #named(name) {
    return this.#tabs.find((tab) => tab.id === `tab-${name}`);
  }

  #choose(tab) {
    tab.focus();
    if (tab.getAttribute("aria-disabled") !== "true" && tab.getAttribute("aria-selected") !== "true") {
      this.select(tab.id.replace("tab-", ""));
    }
  }

  #key(event) {
    const here = this.#tabs.indexOf(document.activeElement);
    const count = this.#tabs.length;
    const goals = { ArrowRight: (here + 1) % count, ArrowLeft: (here + count - 1) % count, Home: 0, End: count - 1 };
    if (!(event.key in goals) || event.altKey || event.metaKey) return; // with those: the browser's own shortcuts
    event.preventDefault();
    this.#choose(this.#tabs[goals[event.key]]);
  }
}
