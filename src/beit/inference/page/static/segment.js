/** Segment: the classes' colours over the picture, a legend, and the name of the class that is pointed at. */

import { showBars } from "./bars.js";
import { draw, greyLevels, paintLabels, bitmapOf, setProportions } from "./images.js";

const STEPS = 40; // arrow keys cross the picture in as many
const ARROWS = { ArrowLeft: [-1, 0], ArrowRight: [1, 0], ArrowUp: [0, -1], ArrowDown: [0, 1] };

export class Segment {
  static task = "segment";
  static progress = "Segmenting …";
  #stage;
  #overlay;
  #crosshair;
  #panel;
  #labels = new Uint8Array();
  #size = [0, 0]; // width, height
  #classes = [];
  #point = [0.5, 0.5]; // in shares of the picture

  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.#panel = panel;
    this.#stage = panel.querySelector(".stage");
    this.#overlay = panel.querySelector(".overlay");
    this.#crosshair = panel.querySelector(".crosshair");
    const opacity = panel.querySelector(".opacity");
    const fade = () => (this.#overlay.style.opacity = opacity.value / 100);
    opacity.addEventListener("input", fade);
    fade();
    for (const kind of ["pointermove", "pointerdown"]) {
      this.#stage.addEventListener(kind, (event) => this.#pointer(event));
    }
    this.#stage.addEventListener("keydown", (event) => this.#key(event));
  }

  /** @param {import("./app.js").Job} job */
  async show(job) {
    const answer = await job.run({});
    const { width, height, classes } = answer;
    this.#labels = greyLevels(await bitmapOf(answer.labels_png));
    this.#size = [width, height];
    this.#classes = classes.map(({ name }) => name);
    setProportions(this.#stage, width, height);
    draw(this.#panel.querySelector(".picture"), await job.bitmap(), width, height);
    paintLabels(this.#overlay, this.#labels, width, height, classes.map(({ colour }) => colour)); // opaque, to be faded
    const entries = classes.filter(({ share }) => share > 0).sort((one, other) => other.share - one.share);
    showBars(this.#panel.querySelector(".legend"), entries);
    this.#crosshair.hidden = true;
    this.#panel.querySelector(".pointed").textContent = "";
  }

  #pointer(event) {
    const box = this.#stage.getBoundingClientRect();
    this.#moveTo((event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height);
  }

  #key(event) {
    const step = ARROWS[event.key];
    if (!step || event.altKey || event.metaKey) return; // with those: the browser's own shortcuts
    event.preventDefault();
    this.#moveTo(this.#point[0] + step[0] / STEPS, this.#point[1] + step[1] / STEPS);
  }

  #moveTo(...point) {
    this.#point = point.map((share) => Math.min(0.999, Math.max(0, share)));
    const [x, y] = this.#point.map((share, axis) => Math.floor(share * this.#size[axis]));
    const name = this.#classes[this.#labels[y * this.#size[0] + x]] ?? "no class";
    this.#panel.querySelector(".pointed").textContent = name;
    this.#crosshair.hidden = false;
    this.#crosshair.style.left = `${100 * this.#point[0]}%`;
    this.#crosshair.style.top = `${100 * this.#point[1]}%`;
  }
}
