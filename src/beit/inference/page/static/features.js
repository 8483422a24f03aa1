/**
 * Features: the principal components of the patches as colours over what the model sees; from one patch, the similarity
 * of all others to it as a heat map.
 */

import { percent } from "./bars.js";
import { PatchGrid } from "./grid.js";
import { explainOverlay, paintHeat } from "./heat.js";
import { draw, bitmapOf, setProportions } from "./images.js";

const PAUSE = 150; // milliseconds that arrow keys must rest before something is asked

export class Features {
  static task = "features";
  static progress = "Computing features …";
  #panel;
  #grid;
  #job = null;
  #patch = null; // whose similarities are shown; null: colours
  #timer = 0;

  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.#panel = panel;
    const choose = (patch) => this.#choose(patch);
    this.#grid = new PatchGrid(panel.querySelector(".patches"), { press: choose, drag: choose, move: choose });
    panel.querySelector(".whole").addEventListener("click", () => this.#choose(null));
    for (const name of [".layer", ".foreground"]) {
      panel.querySelector(name).addEventListener("change", () => this.#askSoon());
    }
    explainOverlay(panel, ".map");
  }

  /** @param {import("./app.js").Job} job */
  async show(job) {
    clearTimeout(this.#timer);
    const other = job.model !== this.#job?.model;
    this.#job = job;
    this.#patch = null;
    if (other) this.#panel.querySelector(".layer").replaceChildren(); // of another model
    await this.#ask();
  }

  #choose(patch) {
    this.#patch = patch;
    this.#mark();
    this.#askSoon();
  }

  #askSoon() {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => this.#job.again(() => this.#ask()), PAUSE);
  }

  async #ask() {
    const fields = { foreground: this.#panel.querySelector(".foreground").checked };
    const chosen = this.#panel.querySelector(".layer").value;
    if (chosen) fields.layer = chosen;
    if (this.#patch) fields.patch = `${this.#patch.row},${this.#patch.col}`;
    const answer = await this.#job.run(fields);
    const [picture, colours] = await Promise.all([bitmapOf(answer.picture_png), bitmapOf(answer.colours_png)]);
    setProportions(this.#panel.querySelector(".stage"), picture.width, picture.height);
    draw(this.#panel.querySelector(".picture"), picture);
    this.#grid.setShape(answer.rows, answer.cols);
    this.#mark();
    this.#listLayers(answer.layer, answer.layers);
    if (answer.patch) this.#paintSimilarities(answer);
    else this.#paintColours(answer, colours);
  }

  #mark() {
    const patch = this.#patch;
    this.#grid.mark(({ row, col }) => patch !== null && row === patch.row && col === patch.col, "chosen");
  }

  #listLayers(layer, layers) {
    const select = this.#panel.querySelector(".layer");
    if (select.options.length) return;
    select.replaceChildren(...Array.from({ length: layers }, (_, index) => new Option(`Layer ${index + 1}`, index + 1)));
    select.value = layer;
  }

  #paintColours({ shares, layer }, colours) {
    draw(this.#panel.querySelector(".map"), colours);
    this.#panel.querySelector(".scale").hidden = true;
    const text = `The first three principal components of layer ${layer}, as red, green and blue, have `;
    this.#panel.querySelector(".summary").textContent = `${text}${shares.map(percent).join(", ")} of the variance.`;
  }

  #paintSimilarities({ rows, cols, layer, patch, similarities }) {
    const [least, most] = [Math.min(...similarities), Math.max(...similarities)];
    const heights = similarities.map((one) => one - least);
    paintHeat(this.#panel.querySelector(".map"), heights, rows, cols, most - least);
    this.#panel.querySelector(".scale").hidden = false;
    this.#panel.querySelector(".least").textContent = least.toFixed(2);
    this.#panel.querySelector(".most").textContent = most.toFixed(2);
    const others = similarities.map((one, place) => (place === patch[0] * cols + patch[1] ? -Infinity : one));
    const nearest = others.indexOf(Math.max(...others));
    const place = `row ${Math.floor(nearest / cols) + 1}, column ${(nearest % cols) + 1}`;
    const from = `In layer ${layer} the patch at row ${patch[0] + 1}, column ${patch[1] + 1}`;
    const said = others.length > 1 ? `is most similar to ${place}: ${others[nearest].toFixed(2)}.` : "is the only one.";
    this.#panel.querySelector(".summary").textContent = `${from} ${said}`;
  }
}
