/** Plain: the answer of a task that has no drawing of its own, field by field. */

export class Plain {
  static progress = "Computing …";
  #panel;

  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.#panel = panel;
  }

  /** @param {import("./app.js").Job} job */
  async show(job) {
    const { model: _, ...answer } = await job.run({});
    const fields = Object.entries(answer).flatMap(([name, value]) => [term(name), content(name, value)]);
    this.#panel.querySelector(".plain").replaceChildren(...fields);
  }
}

function term(name) {
  return Object.assign(document.createElement("dt"), { textContent: name });
}

function content(name, value) {
  const content = document.createElement("dd");
  if (name.endsWith("_png")) {
    content.append(Object.assign(new Image(), { src: `data:image/png;base64,${value}`, alt: name }));
  } else {
    content.textContent = typeof value === "string" ? value : JSON.stringify(value);
  }
  return content;
}
