/** Reconstruct: hide patches, by hand or at random, and see what the model puts in their place. */

import { percent } from "./bars.js";
import { PatchGrid } from "./grid.js";
import { draw, bitmapOf, setProportions } from "./images.js";

const SEEDS = 2 ** 31;

export class Reconstruct {
  static task = "reconstruct";
  static progress = "Reconstructing …";
  #panel;
  #grid;
  #job = null;
  #hidden = []; // rows of booleans
  #brush = true; // what a stroke makes of the patches it comes to

  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.#panel = panel;
    this.#grid = new PatchGrid(panel.querySelector(".patches"), {
      press: ({ row, col }) => this.#paint({ row, col }, !this.#hidden[row][col]),
      drag: (patch) => this.#paint(patch, this.#brush),
    });
    this.#share.addEventListener("input", () => {
      panel.querySelector(".share-text").textContent = percent(this.#share.value / 100);
    });
    const click = (part, step) => panel.querySelector(part).addEventListener("click", step);
    click(".go", () => this.#job.again(() => this.#ask({ mask: JSON.stringify(this.#mask()) })));
    click(".random", () => this.#job.again(() => this.#ask(this.#random())));
    click(".none", () => this.#setMask([], this.#hidden.length, this.#hidden[0].length));
  }

  /** @param {import("./app.js").Job} job */
  async show(job) {
    this.#job = job;
    await this.#ask(this.#random());
  }

  get #share() {
    return this.#panel.querySelector(".share");
  }

  #random() {
    return { share: this.#share.value / 100, seed: Math.floor(Math.random() * SEEDS) };
  }

  async #ask(fields) {
    const { rows, cols, mask, picture_png, masked_png, reconstruction_png } = await this.#job.run(fields);
    const files = [picture_png, masked_png, reconstruction_png];
    const [picture, masked, reconstruction] = await Promise.all(files.map(bitmapOf));
    setProportions(this.#panel.querySelector(".stage"), picture.width, picture.height);
    draw(this.#panel.querySelector(".picture"), picture);
    draw(this.#panel.querySelector(".masked"), masked);
    draw(this.#panel.querySelector(".reconstruction"), reconstruction);
    this.#grid.setShape(rows, cols);
    this.#setMask(mask, rows, cols);
  }

  #paint({ row, col }, hide) {
    this.#brush = hide;
    this.#hidden[row][col] = hide;
    this.#showMask();
  }

  #setMask(mask, rows, cols) {
    this.#hidden = Array.from({ length: rows }, () => Array(cols).fill(false));
    for (const [row, col] of mask) this.#hidden[row][col] = true;
    this.#showMask();
  }

  #showMask() {
    this.#grid.mark(({ row, col }) => this.#hidden[row][col], "hidden");
    const [hidden, all] = [this.#mask().length, this.#hidden.flat().length];
    this.#panel.querySelector(".go").disabled = hidden === 0;
    this.#panel.querySelector(".count").textContent = `${hidden} of ${all} patches hidden (${percent(hidden / all)})`;
  }

  #mask() {
    return this.#hidden.flatMap((cells, row) => cells.flatMap((hidden, col) => (hidden ? [[row, col]] : [])));
  }
}
