/** The answers of the tasks, with the keys that the service gives them; pictures are ImageData. */

import { blocks } from "./blocks.js";
import { patchColours, similarities } from "./components.js";
import { keepOnly, run, Tensor } from "./loading.js";
import { BICUBIC, resize } from "./resample.js";
import { segmented } from "./scenes.js";
import { cropped, decoded, normalised, tokenizerPixels } from "./view.js";

const GREY = 128; // of hidden patches
const TASKS = { classify, segment, attend, features, reconstruct };
let shown = {}; // the last picture: {key, picture, seen, pixels, computed}

/**
 * @param {object} page what page.json says
 * @param {{task: string, picture: File, key: number, fields: object}} ask `key` is the same for the same picture
 * @returns {Promise<object>}
 */
export async function answer(page, { task, picture, key, fields }) {
  const model = page.models.find(({ name }) => name === fields.model);
  if (shown.key !== key) shown = await prepared(page.view, picture, key);
  return { model: model.name, ...(await TASKS[task](page, model, fields)) };
}

async function prepared(view, file, key) {
  const picture = await decoded(file);
  const seen = cropped(picture, view);
  return { key, picture, seen, pixels: normalised(seen, view), computed: null };
}

/** What a model makes of the picture with nothing hidden, computed once for all tabs. */
async function outputs(page, model) {
  if (shown.computed?.model !== model) {
    const hidden = new Uint8Array(model.rows * model.cols);
    shown.computed = { model, tensors: await runModel(page, model, hidden) };
  }
  return shown.computed.tensors;
}

async function runModel(page, model, hidden, pixels = shown.pixels) {
  const { height, width } = page.view;
  const inputs = { pixel_values: new Tensor("float32", pixels, [1, 3, height, width]) };
  if (page.tokenizer) inputs.mask = new Tensor("bool", hidden, [1, hidden.length]);
  const tokenizer = page.tokenizer ? [page.tokenizer.encoder.path, page.tokenizer.decoder.path] : [];
  await keepOnly([model.file.path, ...tokenizer]);
  return run(model.file, inputs);
}

async function classify(page, model, { top_k }) {
  const { data } = (await outputs(page, model)).logits;
  const probabilities = page.several_labels ? [...data].map((score) => 1 / (1 + Math.exp(-score))) : softmax([...data]);
  const order = [...probabilities.keys()].sort((one, other) => probabilities[other] - probabilities[one]);
  const named = (index) => ({ label: model.classes[index], probability: probabilities[index] });
  return { predictions: order.slice(0, top_k).map(named) };
}

function softmax(scores) {
  const most = scores.reduce((one, other) => Math.max(one, other));
  const raised = scores.map((score) => Math.exp(score - most));
  const sum = raised.reduce((one, other) => one + other);
  return raised.map((value) => value / sum);
}

async function segment(page, model) {
  const { width, height } = shown.picture;
  const input = [model.image_height, model.image_width];
  const patch = [model.image_height / model.rows, model.image_width / model.cols];
  const scores = async (pixels) => (await runModel(page, model, null, pixels)).logits;
  const labels = await segmented(shown.picture, page.scene, input, patch, scores);
  const counts = new Uint32Array(model.classes.length);
  labels.forEach((label) => counts[label]++);
  const described = (name, label) => ({ name, colour: page.scene.colours[label], share: counts[label] / labels.length });
  return { width, height, classes: model.classes.map(described), labels_png: grey(labels, width, height) };
}

/** @returns {ImageData} numbers up to 255 as grey levels */
function grey(numbers, width, height) {
  const picture = new ImageData(width, height);
  numbers.forEach((number, place) => picture.data.set([number, number, number, 255], 4 * place));
  return picture;
}

async function attend(page, model, fields) {
  const { rows, cols } = model;
  const patch = patchOf(fields);
  const { data, dims } = (await outputs(page, model)).attention; // (1, heads, tokens, tokens), [CLS] first
  const [, heads, tokens] = dims;
  const query = patch ? 1 + patch[0] * cols + patch[1] : 0;
  const from = (head) => (head * tokens + query) * tokens;
  const maps = Array.from({ length: heads }, (_, head) => [...data.subarray(from(head) + 1, from(head) + tokens)]);
  return { rows, cols, maps, patch, picture_png: shown.seen };
}

async function features(page, model, fields) {
  const { rows, cols } = model;
  const patch = patchOf(fields);
  const layer = Number(fields.layer ?? page.layer);
  const { data, dims } = (await outputs(page, model)).hidden; // (1, layers, patches, features)
  const [, layers, patches, size] = dims;
  const map = { rows, cols, size, data: data.subarray((layer - 1) * patches * size, layer * patches * size) };
  const { colours, shares } = patchColours(map, fields.foreground);
  const compared = patch ? similarities(map, patch[0] * cols + patch[1]) : null;
  return {
    ...{ rows, cols, layer, layers, shares, patch },
    ...{ picture_png: shown.seen, colours_png: colours, similarities: compared },
  };
}

async function reconstruct(page, model, { mask, share, seed }) {
  const { rows, cols } = model;
  const { encoder, decoder, height, width } = page.tokenizer;
  const places = mask ? JSON.parse(mask) : blocks(rows, cols, share, seed);
  const hidden = new Uint8Array(rows * cols);
  for (const [row, col] of places) hidden[row * cols + col] = 1;
  const predicted = (await runModel(page, model, hidden)).tokens.data;
  const pixels = tokenizerPixels(shown.picture, page.view, height, width);
  const { data: own } = (await run(encoder, { pixels: new Tensor("float32", pixels, [1, 3, height, width]) })).tokens;
  const tokens = Int32Array.from(own, (token, place) => (hidden[place] ? predicted[place] : token));
  const painted = (await run(decoder, { tokens: new Tensor("int32", tokens, [1, rows, cols]) })).pixels;
  return {
    ...{ rows, cols, mask: places, picture_png: shown.seen, masked_png: masked(shown.seen, hidden, rows, cols) },
    reconstruction_png: resize(drawn(painted), shown.seen.width, shown.seen.height, BICUBIC),
  };
}

/** @returns {ImageData} a picture with some patches in grey */
function masked({ data, width, height }, hidden, rows, cols) {
  const covered = new ImageData(new Uint8ClampedArray(data), width, height);
  for (let place = 0; place < width * height; place++) {
    const row = Math.floor((Math.floor(place / width) * rows) / height);
    const col = Math.floor(((place % width) * cols) / width);
    if (hidden[row * cols + col]) covered.data.fill(GREY, 4 * place, 4 * place + 3);
  }
  return covered;
}

/** @returns {ImageData} pixels (1, 3, height, width) in [0, 1] */
function drawn({ data, dims: [, , height, width] }) {
  const picture = new ImageData(width, height);
  const size = width * height;
  for (let place = 0; place < size; place++) {
    for (let channel = 0; channel < 3; channel++) picture.data[4 * place + channel] = 255 * data[channel * size + place];
    picture.data[4 * place + 3] = 255;
  }
  return picture;
}

function patchOf({ patch }) {
  return patch ? patch.split(",").map(Number) : null;
}
