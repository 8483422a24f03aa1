/**
 * What a model is shown of a picture: resized, cropped in the middle, normalised, in the arithmetic of the package.
 *
 * @typedef {{height: number, width: number, resize: number | [number, number], filter: number, mean: number[],
 *   std: number[]}} View size of the crop, that before it (or its shorter side), and the numbers of the channels
 */

import { ApiError } from "./api.js";
import { LANCZOS, resize } from "./resample.js";

const MOST_PIXELS = 2 ** 24; // of a canvas on a phone

/**
 * @param {File} file
 * @returns {Promise<ImageData>} its pixels, upright, without the conversions that a screen gets
 */
export async function decoded(file) {
  const bitmap = await createImageBitmap(file, { colorSpaceConversion: "none" }).catch(() => {
    throw new ApiError(`this browser cannot show ${file.name}; save it as JPEG or PNG`);
  });
  const shrunk = Math.min(1, Math.sqrt(MOST_PIXELS / (bitmap.width * bitmap.height)));
  const [width, height] = [bitmap.width, bitmap.height].map((side) => Math.max(1, Math.floor(side * shrunk)));
  const context = new OffscreenCanvas(width, height).getContext("2d", { willReadFrequently: true });
  context.imageSmoothingQuality = "high";
  context.drawImage(bitmap, 0, 0, width, height);
  bitmap.close();
  return context.getImageData(0, 0, width, height);
}

/** @param {ImageData} picture @param {View} view @returns {ImageData} the part that the model sees */
export function cropped(picture, view) {
  const [height, width] = resizedTo(picture, view.resize);
  const whole = resize(picture, width, height, view.filter);
  const [top, left] = [height - view.height, width - view.width].map((spare) => Math.floor(spare / 2));
  const seen = new ImageData(view.width, view.height);
  for (let place = 3; place < seen.data.length; place += 4) seen.data[place] = 255; // black where there is no picture
  for (let row = Math.max(0, -top); row < Math.min(view.height, height - top); row++) {
    const column = Math.max(0, -left);
    const from = 4 * ((row + top) * width + column + left);
    const count = 4 * Math.min(view.width - column, width);
    seen.data.set(whole.data.subarray(from, from + count), 4 * (row * view.width + column));
  }
  return seen;
}

/** @param {ImageData} seen @param {View} view @returns {Float32Array} (3, height, width), normalised */
export function normalised(seen, { mean, std }) {
  const step = (value, channel) => Math.fround(Math.fround(value * (1 / 255)) - Math.fround(mean[channel]));
  return planes(seen, (value, channel) => step(value, channel) / Math.fround(std[channel]));
}

/**
 * @param {ImageData} picture
 * @param {View} view
 * @param {number} height of what a tokenizer sees of the same part
 * @param {number} width
 * @returns {Float32Array} (3, height, width) in [0, 1]
 */
export function tokenizerPixels(picture, view, height, width) {
  const seen = resize(picture, width, height, LANCZOS, croppedBox(picture, view));
  return planes(seen, (value) => value * Math.fround(1 / 255));
}

/** The box of the crop in the pixels of the picture itself. */
function croppedBox(picture, view) {
  const [height, width] = resizedTo(picture, view.resize);
  const [top, left] = [height - view.height, width - view.width].map((spare) => Math.floor(spare / 2));
  const [down, across] = [picture.height / height, picture.width / width];
  const [bottom, right] = [Math.min(height, top + view.height), Math.min(width, left + view.width)];
  return [Math.max(0, left) * across, Math.max(0, top) * down, right * across, bottom * down];
}

function resizedTo({ height, width }, size) {
  if (Array.isArray(size)) return size;
  const shorter = Math.min(height, width);
  return [height, width].map((side) => Math.floor((size * side) / shorter));
}

/** One plane per channel, each value looked up, since there are only 256. */
function planes({ data, width, height }, value) {
  const size = width * height;
  const planes = new Float32Array(3 * size);
  for (let channel = 0; channel < 3; channel++) {
    const table = Float32Array.from({ length: 256 }, (_, level) => value(level, channel));
    for (let place = 0; place < size; place++) planes[channel * size + place] = table[data[4 * place + channel]];
  }
  return planes;
}
