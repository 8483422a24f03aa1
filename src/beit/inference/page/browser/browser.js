/** The answers of the page without a service: a worker computes them in this browser. The interface is that of api.js. */

import { ApiError } from "./api.js";
import { showProgress } from "./status.js";

const UNSTARTED = "this browser cannot start the program that computes; open the page in a current browser, over HTTP";

/** A model beside the page, and the worker that runs it. */
export class Api {
  #worker = new Worker(new URL("worker.js", import.meta.url), { type: "module" });
  #page = null; // what page.json says
  #calls = new Map(); // number -> {resolve, reject} of what the worker is asked
  #number = 0;
  #turn = Promise.resolve(); // of the call before
  #picture = null;
  #pictures = 0; // how many there have been: a file loses its identity on the way to the worker

  constructor() {
    this.#worker.addEventListener("message", ({ data }) => this.#receive(data));
    this.#worker.addEventListener("error", () => this.#fail(UNSTARTED));
  }

  /** @returns {Promise<import("./api.js").Task[]>} what this model can do, in the order of the tabs */
  async tasks() {
    return (await this.#described()).tasks;
  }

  /** @returns {Promise<import("./api.js").Model[]>} the same model in each precision */
  async models() {
    return (await this.#described()).models;
  }

  /**
   * @param {string} task name of a task
   * @param {File} picture
   * @param {Record<string, string | number | boolean>} fields those of the service's form, `model` among them
   * @param {AbortSignal} signal
   * @returns {Promise<any>} the answer as the service gives it, but pictures are ImageData
   */
  async run(task, picture, fields, signal) {
    if (picture !== this.#picture) [this.#picture, this.#pictures] = [picture, this.#pictures + 1];
    const ask = { task, picture, key: this.#pictures, fields };
    const before = this.#turn;
    const turn = before.then(() => (signal.aborted ? null : this.#call(ask)));
    this.#turn = turn.catch(() => {});
    return turn;
  }

  async #described() {
    this.#page ??= await this.#call({});
    return this.#page;
  }

  #call(ask) {
    return new Promise((resolve, reject) => {
      this.#calls.set(++this.#number, { resolve, reject });
      this.#worker.postMessage({ number: this.#number, ...ask });
    });
  }

  #receive({ number, progress, answer, problem, bug }) {
    if (progress !== undefined) return showProgress(progress);
    const { resolve, reject } = this.#calls.get(number);
    this.#calls.delete(number);
    if (problem) reject(new ApiError(problem));
    else if (bug) reject(new Error(bug));
    else resolve(answer);
  }

  #fail(message) {
    for (const { reject } of this.#calls.values()) reject(new ApiError(message));
    this.#calls.clear();
  }
}
