/**
 * The page: a picture, a model and a tab make a job; its tab shows the answer.
 *
 * @typedef {object} Job
 * @property {import("./api.js").Model} model
 * @property {(fields: object) => Promise<any>} run asks for the answer; fields: those of the form beside file and model
 * @property {(step: () => Promise<void>) => Promise<void>} again runs a step of the tab in place of a running one, unless
 *   the user has gone on to another picture, model or tab
 * @property {() => Promise<ImageBitmap>} bitmap the picture as it was chosen
 */

import { ApiError } from "./api.js";
import { Attention } from "./attend.js";
import { Classify } from "./classify.js";
import { Features } from "./features.js";
import { Preview, takePictures } from "./picture.js";
import { Plain } from "./plain.js";
import { Reconstruct } from "./reconstruct.js";
import { Segment } from "./segment.js";
import { guarded, showError, showProgress } from "./status.js";
import { Tabs } from "./tabs.js";
import { askToken } from "./token.js";

const DRAWINGS = [Classify, Segment, Attention, Features, Reconstruct]; // of the other tasks: Plain

// What answers, as the page says of itself: the service that it is of, or the model that lies beside it.
const BACK_ENDS = { service: "./api.js", browser: "./browser.js" };

const element = (name) => document.getElementById(name);

class Page {
  #api = null;
  #tools = {}; // task -> the drawing of its answers
  #titles = {}; // task -> the texts of its tab
  #tabs = new Tabs(document.querySelector("[role=tablist]"), element("panels"), element("reasons"), (task) =>
    this.#selectTab(task),
  );
  #preview = new Preview();
  #models = [];
  #picture = null;
  #task = null;
  #shown = {}; // task -> the picture and model whose answer its tab shows
  #running = new AbortController();

  async start() {
    takePictures(element("file"), element("drop"), (picture) => this.#selectPicture(picture));
    element("model").addEventListener("change", () => this.#selectModel());
    showProgress("Asking for models …");
    let models = null;
    await guarded(async () => {
      const { Api } = await import(BACK_ENDS[document.documentElement.dataset.answers]);
      this.#api = new Api(askToken);
      this.#addTabs(await this.#api.tasks());
      models = await this.#api.models(showProgress);
    });
    showProgress("");
    if (models) await guarded(async () => this.#offer(models));
  }

  #addTabs(tasks) {
    for (const { name, tab } of tasks) {
      if (!tab) continue;
      const panel = this.#tabs.add(name, tab.title);
      panel.append((element(`template-${name}`) ?? element("template-plain")).content.cloneNode(true));
      this.#tools[name] = new (DRAWINGS.find(({ task }) => task === name) ?? Plain)(panel);
      this.#titles[name] = tab;
    }
  }

  #offer(models) {
    this.#models = models;
    const able = (task) => models.some((model) => model.tasks.includes(task));
    for (const task of Object.keys(this.#tools).filter((name) => !able(name))) {
      const { title, unavailable } = this.#titles[task];
      this.#tabs.disable(task, `${title}: ${unavailable}`);
    }
    const first = able(this.#task) ? this.#task : Object.keys(this.#tools).find(able);
    if (!first) throw new ApiError("there is no model that this page can show");
    this.#tabs.select(first);
  }

  get #model() {
    return this.#models.find((model) => model.name === element("model").value);
  }

  #selectPicture(picture) {
    this.#picture = picture;
    this.#preview.show(picture);
    element("invitation").hidden = true;
    this.#refresh();
  }

  #selectTab(task) {
    this.#task = task;
    if (!this.#models.length) return; // they are still asked for, and offered on this tab
    const able = this.#models.filter((model) => model.tasks.includes(task));
    const before = element("model").value;
    const options = this.#models.map((model) => new Option(model.name, model.name));
    options.forEach((option, index) => (option.disabled = !able.includes(this.#models[index])));
    element("model").replaceChildren(...options); // all that are loaded; those that do another job cannot be chosen here
    element("model").value = able.some((model) => model.name === before) ? before : able[0].name;
    element("model").disabled = false;
    this.#selectModel();
  }

  #selectModel() {
    const { title, image_height, image_width, rows, cols, classes } = this.#model;
    const patches = `${rows * cols} patches of ${image_height / rows} × ${image_width / cols} pixels`;
    const info = [`${title ? `${title} ` : ""}sees ${image_height} × ${image_width} pixels as ${patches}`];
    if (classes.length) info.push(`knows ${classes.length} classes`);
    element("model-info").textContent = info.join(", ");
    this.#refresh();
  }

  /** Ask for what the selected tab lacks. */
  #refresh() {
    if (!this.#models.length) return; // they are still asked for, which the page says
    this.#running.abort();
    showProgress("");
    showError("");
    const [task, picture, model] = [this.#task, this.#picture, this.#model];
    const shown = this.#shown[task];
    if (!picture || (shown?.picture === picture && shown?.model === model)) return;
    const result = element(`panel-${task}`).querySelector(".result");
    result.hidden = true;
    delete this.#shown[task];
    const job = this.#job(task, picture, model);
    job.again(async () => {
      await this.#tools[task].show(job);
      this.#shown[task] = { picture, model };
      result.hidden = false;
    });
  }

  /** @returns {Job} */
  #job(task, picture, model) {
    return {
      model,
      run: async (fields) => {
        const { signal } = this.#running;
        const answer = await this.#api.run(task, picture, { model: model.name, ...fields }, signal);
        signal.throwIfAborted();
        return answer;
      },
      again: async (step) => {
        const stale = task !== this.#task || picture !== this.#picture || model !== this.#model;
        if (!stale) await this.#replace(step, this.#tools[task].constructor.progress);
      },
      bitmap: () => readable(picture),
    };
  }

  async #replace(step, progress) {
    this.#running.abort();
    const mine = (this.#running = new AbortController());
    showError("");
    showProgress(progress);
    await guarded(step);
    if (mine === this.#running) showProgress("");
  }
}

async function readable(picture) {
  try {
    return await createImageBitmap(picture);
  } catch {
    throw new ApiError(`this browser cannot show ${picture.name}; save it as JPEG or PNG`);
  }
}

new Page().start();
