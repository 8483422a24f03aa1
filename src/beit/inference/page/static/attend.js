/** Attention: where the model looks from the whole picture or from one patch, as a heat map over what it sees. */

import { percent } from "./bars.js";
import { PatchGrid } from "./grid.js";
import { explainOverlay, paintHeat } from "./heat.js";
import { draw, bitmapOf, setProportions } from "./images.js";

const PAUSE = 150; // milliseconds that arrow keys must rest before something is asked

export class Attention {
  static task = "attend";
  static progress = "Looking …";
  #panel;
  #grid;
  #job = null;
  #answer = null;
  #timer = 0;

  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.#panel = panel;
    const choose = (patch) => this.#choose(patch);
    this.#grid = new PatchGrid(panel.querySelector(".patches"), { press: choose, drag: choose, move: choose });
    panel.querySelector(".whole").addEventListener("click", () => this.#choose(null));
    panel.querySelector(".head").addEventListener("change", () => this.#paint());
    explainOverlay(panel, ".heat");
  }

  /** @param {import("./app.js").Job} job */
  async show(job) {
    clearTimeout(this.#timer); // a patch that was chosen just before is one of another picture or model
    this.#job = job;
    await this.#ask({});
  }

  #choose(patch) {
    this.#grid.mark(({ row, col }) => patch !== null && row === patch.row && col === patch.col, "chosen");
    clearTimeout(this.#timer);
    const fields = patch ? { patch: `${patch.row},${patch.col}` } : {};
    this.#timer = setTimeout(() => this.#job.again(() => this.#ask(fields)), PAUSE);
  }

  async #ask(fields) {
    this.#answer = await this.#job.run(fields);
    const { rows, cols, maps, picture_png, patch } = this.#answer;
    const picture = await bitmapOf(picture_png);
    setProportions(this.#panel.querySelector(".stage"), picture.width, picture.height);
    draw(this.#panel.querySelector(".picture"), picture);
    this.#grid.setShape(rows, cols);
    this.#grid.mark(({ row, col }) => patch !== null && row === patch[0] && col === patch[1], "chosen");
    this.#listHeads(maps.length);
    this.#paint();
  }

  #listHeads(count) {
    const select = this.#panel.querySelector(".head");
    if (select.options.length === count + 1) return;
    const heads = Array.from({ length: count }, (_, head) => new Option(`Head ${head + 1}`, String(head)));
    select.replaceChildren(new Option("Mean of all heads", "mean"), ...heads);
  }

  #paint() {
    const { rows, cols, maps, patch } = this.#answer;
    const head = this.#panel.querySelector(".head").value;
    const map = head === "mean" ? mean(maps) : maps[Number(head)];
    const most = Math.max(...map);
    paintHeat(this.#panel.querySelector(".heat"), map, rows, cols, most);
    this.#panel.querySelector(".most").textContent = percent(most);
    const brightest = map.indexOf(most);
    const place = `row ${Math.floor(brightest / cols) + 1}, column ${(brightest % cols) + 1}`;
    const from = patch ? `The patch at row ${patch[0] + 1}, column ${patch[1] + 1}` : "The whole picture ([CLS])";
    this.#panel.querySelector(".summary").textContent = `${from} attends most to ${place}: ${percent(most)}.`;
  }
}

/** @param {number[][]} maps rows × cols numbers of each head @returns {number[]} their mean */
function mean(maps) {
  return maps[0].map((_, place) => maps.reduce((sum, map) => sum + map[place], 0) / maps.length);
}
