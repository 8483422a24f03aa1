/**
 * The HTTP API of the service: its answers, and its errors as text.
 *
 * @typedef {{name: string, tasks: string[], classes: string[], image_height: number, image_width: number,
 *   patch_size: number, rows: number, cols: number, title?: string}} Model `title`: where names are those of its files
 * @typedef {{name: string, about: string, tab: {title: string, unavailable: string} | null}} Task
 */

const TOKEN = "beit-token"; // in sessionStorage: forgotten with the browser tab
const POLL = 2000; // milliseconds between two looks whether the models are loaded

/** What the service, or the way to it, could not do; the message is for the user. */
export class ApiError extends Error {
  /** @param {string} message @param {number} [status] of the answer; 0 if there was none */
  constructor(message, status = 0) {
    super(message);
    this.status = status;
  }
}

/** The service, which is asked for a token once it wants one. */
export class Api {
  #askToken;

  /** @param {(refused: boolean) => Promise<string>} askToken asks the user; `refused`: the last token was wrong */
  constructor(askToken) {
    this.#askToken = askToken;
  }

  /** @returns {Promise<Task[]>} the tasks of the service, in the order of their tabs */
  async tasks() {
    return (await answer(await reach("v1/tasks", {}))).tasks;
  }

  /**
   * @param {(message: string) => void} onWait called with the reason, while the service still loads its models
   * @returns {Promise<Model[]>} the models that the service has loaded
   */
  async models(onWait) {
    while (!(await isReady(onWait))) await new Promise((resolve) => setTimeout(resolve, POLL));
    return (await this.#request("v1/models", {})).models;
  }

  /**
   * @param {string} task name of a task
   * @param {File} picture
   * @param {Record<string, string | number>} fields further fields of the form, `model` among them
   * @param {AbortSignal} signal
   * @returns {Promise<any>} the answer as the API documents it
   * @throws {ApiError} with the service's own message
   */
  run(task, picture, fields, signal) {
    const body = new FormData();
    body.append("file", picture);
    for (const [name, value] of Object.entries(fields)) body.append(name, String(value));
    return this.#request(`v1/${task}`, { method: "POST", body, signal });
  }

  async #request(path, options) {
    for (;;) {
      const token = sessionStorage.getItem(TOKEN);
      const headers = token ? { Authorization: `Bearer ${token}` } : {};
      const response = await reach(path, { ...options, headers });
      if (response.status !== 401) return answer(response);
      sessionStorage.setItem(TOKEN, await this.#askToken(token !== null));
    }
  }
}

async function isReady(onWait) {
  try {
    await answer(await reach("readyz", {}));
    return true;
  } catch (error) {
    if (error.status !== 503) throw error;
    onWait(error.message);
    return false;
  }
}

async function reach(path, options) {
  try {
    return await fetch(path, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new ApiError("the service did not answer; see whether it is running, and try again");
  }
}

async function answer(response) {
  const content = await response.json().catch((error) => {
    if (error.name === "AbortError") throw error;
    return null;
  });
  if (response.ok && content) return content;
  const unexplained = `the service answered ${response.status} without a reason; its log may have one`;
  throw new ApiError(content?.error?.message ?? unexplained, response.status);
}
