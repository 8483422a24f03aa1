/** The dialog that asks for the service's bearer token. */

import { ApiError } from "./api.js";

const dialog = document.querySelector("#token-dialog");
const input = document.querySelector("#token");
const refusal = document.querySelector("#token-refused");

/**
 * @param {boolean} refused whether the service has refused the last token
 * @returns {Promise<string>} what the user gave
 * @throws {ApiError} if the user gave none
 */
export async function askToken(refused) {
  refusal.hidden = !refused;
  input.value = "";
  dialog.returnValue = "cancel"; // what closing with Escape means
  dialog.showModal();
  await new Promise((resolve) => dialog.addEventListener("close", resolve, { once: true }));
  if (dialog.returnValue !== "give") throw new ApiError("the service wants a bearer token; reload the page to give one");
  return input.value.trim();
}
