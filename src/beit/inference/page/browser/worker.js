/** The worker behind browser.js: it is sent a task with a picture, and sends back the answer or what went wrong. */

import { answer } from "./answers.js";
import { ApiError } from "./api.js";
import { describedPage, explainProgress } from "./loading.js";

explainProgress((progress) => postMessage({ progress }));

addEventListener("message", async ({ data: { number, ...ask } }) => {
  try {
    const page = await describedPage();
    postMessage({ number, answer: ask.task ? await answer(page, ask) : page });
  } catch (error) {
    if (error instanceof ApiError) postMessage({ number, problem: error.message });
    else postMessage({ number, bug: String(error.stack ?? error) });
  }
});
