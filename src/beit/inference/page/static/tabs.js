/** Tabs after the ARIA pattern: one tab stop, arrow keys, Home and End; tabs that cannot be used say why. */

export class Tabs {
  #tabs = [];
  #list;
  #panels;
  #reasons;
  #onSelect;

  /**
   * @param {HTMLElement} list the element with role "tablist"
   * @param {HTMLElement} panels holds the panels
   * @param {HTMLElement} reasons holds the texts of tabs that cannot be used
   * @param {(name: string) => void} onSelect called with the name of the selected tab
   */
  constructor(list, panels, reasons, onSelect) {
    this.#list = list;
    this.#panels = panels;
    this.#reasons = reasons;
    this.#onSelect = onSelect;
    list.addEventListener("keydown", (event) => this.#key(event));
  }

  /**
   * @param {string} name
   * @param {string} title
   * @returns {HTMLElement} its panel, empty
   */
  add(name, title) {
    const tab = part("button", { id: `tab-${name}`, type: "button", textContent: title, tabIndex: -1 });
    const panel = part("div", { id: `panel-${name}`, tabIndex: 0, hidden: true });
    set(tab, { role: "tab", "aria-controls": panel.id });
    set(panel, { role: "tabpanel", "aria-labelledby": tab.id });
    tab.addEventListener("click", () => this.#choose(tab));
    this.#list.append(tab);
    this.#panels.append(panel);
    this.#tabs.push(tab);
    return panel;
  }

  /**
   * @param {string} name
   * @param {string} text says why the tab cannot be used: its tooltip, shown in the page while it has focus
   */
  disable(name, text) {
    const tab = this.#named(name);
    const reason = part("p", { id: `reason-${name}`, className: "hint", textContent: text, hidden: true });
    this.#reasons.append(reason);
    set(tab, { "aria-disabled": "true", "aria-describedby": reason.id, title: text });
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

function part(kind, properties) {
  return Object.assign(document.createElement(kind), properties);
}

function set(element, attributes) {
  for (const [name, value] of Object.entries(attributes)) element.setAttribute(name, value);
}
