/** What the page is doing, and what went wrong. */

import { ApiError } from "./api.js";

const progress = document.querySelector("#progress");
const error = document.querySelector("#error");

/** @param {string} text what is awaited; "" for nothing */
export function showProgress(text) {
  progress.textContent = text;
  progress.classList.toggle("running", text !== "");
}

/** @param {string} text what went wrong; "" for nothing */
export function showError(text) {
  error.textContent = text;
}

/**
 * Run a step and show its error, if it has one that the user can understand.
 *
 * @param {() => Promise<void>} step
 * @throws whatever else escapes: a bug of the page, for the browser's console
 */
export async function guarded(step) {
  try {
    await step();
  } catch (problem) {
    if (problem.name === "AbortError") return; // something newer was asked for
    if (!(problem instanceof ApiError)) {
      showError("the page met an error of its own; the browser's console has it");
      throw problem;
    }
    showError(problem.message);
  }
}
