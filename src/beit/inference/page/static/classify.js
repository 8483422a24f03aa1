/** Classify: the most likely classes as bars. */

import { showBars } from "./bars.js";

const TOP = 5;

export class Classify {
  static task = "classify";
  static progress = "Classifying …";
  #panel;

  /** @param {HTMLElement} panel */
  constructor(panel) {
    this.#panel = panel;
  }

  /** @param {import("./app.js").Job} job */
  async show(job) {
    const { predictions } = await job.run({ top_k: Math.min(TOP, job.model.classes.length) });
    const entries = predictions.map(({ label, probability }) => ({ name: label, share: probability }));
    showBars(this.#panel.querySelector(".bars"), entries);
  }
}
