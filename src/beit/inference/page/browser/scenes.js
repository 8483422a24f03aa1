/**
 * The class of every pixel of a picture of any size: windows, scales and the mirror image as the package takes them.
 *
 * Scores stay as small as the model gives them. They are enlarged a row of pixels at a time, since those of a photograph
 * would not fit into the memory of a phone.
 *
 * @typedef {{windows: {height: number, width: number, down: number, across: number}, shorter_side: number | null,
 *   scales: number[], flip: boolean, mean: number[], std: number[]}} Scene `down` and `across`: the strides of windows
 * @typedef {{data: Float32Array, dims: number[]}} Scores (1, classes, rows, columns)
 * @typedef {(row: number) => Float32Array} Rows scores of a row, class by class
 * @typedef {[number, number]} Size height and width
 */

import { BILINEAR, resize } from "./resample.js";
import { normalised } from "./view.js";

const CHANNELS = 3;

/**
 * @param {ImageData} picture
 * @param {Scene} scene
 * @param {Size} input of the model, which no window exceeds
 * @param {Size} patch
 * @param {(pixels: Float32Array) => Promise<Scores>} model the scores of pixels (3, height, width) of its input
 * @returns {Promise<Uint8Array>} the number of each pixel's class, row by row
 */
export async function segmented(picture, scene, input, patch, model) {
  const passes = [];
  for (const scale of scene.scales) {
    const shown = resizedFor(picture, scene, scale);
    const pixels = normalised(shown, scene);
    for (const flip of scene.flip ? [false, true] : [false]) {
      const windows = await scored(flip ? mirrored(pixels, shown.width) : pixels, shown, scene.windows, input, patch, model);
      const { classes } = windows[0];
      const [from, to] = [shown, picture].map(({ height, width }) => [height, width]);
      const rows = enlarged(mean(windows, shown.width), classes, from, to);
      passes.push({ classes, rows: flip ? (row) => mirrored(rows(row), picture.width) : rows });
    }
  }
  return best(passes, picture);
}

/** The picture at a scale, in the size that it is shown in. */
function resizedFor(picture, { shorter_side: side }, scale) {
  const factor = scale * (side ? side / Math.min(picture.height, picture.width) : 1);
  const [height, width] = [picture.height, picture.width].map((length) => Math.max(1, halfToEven(length * factor)));
  return resize(picture, width, height, BILINEAR);
}

/** What the model gives for every window: {top, left, height, width, classes, rows}. */
async function scored(pixels, { height, width }, windows, input, patch, model) {
  const size = [Math.min(windows.height, height), Math.min(windows.width, width)];
  const found = [];
  for (const top of starts(height, windows.height, windows.down)) {
    for (const left of starts(width, windows.width, windows.across)) {
      const { data, dims } = await model(windowOf(pixels, [height, width], [top, left], size, input));
      const padded = size.map((length, axis) => Math.ceil(length / patch[axis]) * patch[axis]); // as the model is trained
      const rows = enlarged(...partOf(data, dims, padded, input), padded);
      found.push({ top, left, height: size[0], width: size[1], padded: padded[1], classes: dims[1], rows });
    }
  }
  return found;
}

/** @returns {number[]} where windows start along an axis; the last one ends with the picture */
function starts(length, size, stride) {
  if (length <= size) return [0];
  const count = Math.ceil((length - size) / stride);
  return [...Array.from({ length: count }, (_, place) => place * stride), length - size];
}

/** @returns {Float32Array} (3, height, width) of the input: a window, and 0 where it has no pixels */
function windowOf(pixels, [height, width], [top, left], size, input) {
  const shown = new Float32Array(CHANNELS * input[0] * input[1]);
  for (let channel = 0; channel < CHANNELS; channel++) {
    for (let row = 0; row < size[0]; row++) {
      const from = (channel * height + top + row) * width + left;
      shown.set(pixels.subarray(from, from + size[1]), (channel * input[0] + row) * input[1]);
    }
  }
  return shown;
}

/** The scores of the part of the input that a padded window fills: [rows, classes, size]. */
function partOf(data, [, classes, tall, wide], padded, input) {
  const size = [tall, wide].map((length, axis) => Math.floor((length * padded[axis]) / input[axis]));
  const rows = (row) => {
    const scores = new Float32Array(classes * size[1]);
    for (let label = 0; label < classes; label++) {
      const from = (label * tall + row) * wide;
      scores.set(data.subarray(from, from + size[1]), label * size[1]);
    }
    return scores;
  };
  return [rows, classes, size];
}

/** @returns {Rows} the mean over the windows that cover a pixel */
function mean(windows, width) {
  const { classes } = windows[0];
  return (row) => {
    const [sums, counts] = [new Float32Array(classes * width), new Float32Array(width)];
    for (const { top, left, height, width: across, padded, rows } of windows) {
      if (row < top || row >= top + height) continue;
      const scores = rows(row - top);
      for (let column = 0; column < across; column++) counts[left + column]++;
      for (let label = 0; label < classes; label++) {
        for (let column = 0; column < across; column++) {
          sums[label * width + left + column] += scores[label * padded + column];
        }
      }
    }
    return sums.map((sum, place) => sum / counts[place % width]);
  };
}

/**
 * @param {Rows} rows
 * @param {number} classes
 * @param {Size} from
 * @param {Size} to
 * @returns {Rows} interpolated bilinearly; centres of pixels beyond the outermost take their value
 */
function enlarged(rows, classes, from, to) {
  if (from[0] === to[0] && from[1] === to[1]) return rows;
  const [down, across] = [0, 1].map((axis) => neighbours(from[axis], to[axis]));
  const stretched = remembered((row) => {
    const [scores, wide] = [rows(row), new Float32Array(classes * to[1])];
    for (let label = 0; label < classes; label++) {
      for (let column = 0; column < to[1]; column++) {
        const { first, second, share } = across[column];
        const line = label * from[1];
        wide[label * to[1] + column] = scores[line + first] * (1 - share) + scores[line + second] * share;
      }
    }
    return wide;
  });
  return (row) => {
    const { first, second, share } = down[row];
    const [above, below] = [stretched(first), stretched(second)];
    return above.map((score, place) => score * (1 - share) + below[place] * share);
  };
}

/** @returns {{first: number, second: number, share: number}[]} for each place its two neighbours before enlarging */
function neighbours(length, places) {
  const scale = Math.fround(length / places); // in single precision as in the package: ties fall on the same side
  return Array.from({ length: places }, (_, at) => {
    const place = Math.max(0, Math.fround(Math.fround((at + 0.5) * scale) - 0.5));
    const first = Math.min(Math.floor(place), length - 1);
    return { first, second: Math.min(first + 1, length - 1), share: place - first };
  });
}

/** @returns {Rows} the same rows; the last two are kept, for the next row of the result is made of them too */
function remembered(rows) {
  const kept = new Map();
  return (row) => {
    if (!kept.has(row)) {
      if (kept.size > 1) kept.delete(kept.keys().next().value);
      kept.set(row, rows(row));
    }
    return kept.get(row);
  };
}

/** @returns {Float32Array} rows of numbers of some width, each from right to left */
function mirrored(numbers, width) {
  return numbers.map((_, place) => numbers[place - (place % width) + width - 1 - (place % width)]);
}

/** @returns {Uint8Array} the class of the largest mean probability; of a single pass, of the largest score */
function best(passes, { height, width }) {
  const labels = new Uint8Array(height * width);
  for (let row = 0; row < height; row++) {
    const scores = passes.map(({ rows }) => (passes.length > 1 ? probabilities(rows(row), width) : rows(row)));
    const sums = scores.reduce((one, other) => one.map((value, place) => value + other[place]));
    for (let column = 0; column < width; column++) {
      let label = 0;
      for (let other = 1; other < passes[0].classes; other++) {
        if (sums[other * width + column] > sums[label * width + column]) label = other;
      }
      labels[row * width + column] = label;
    }
  }
  return labels;
}

/** @returns {Float32Array} the softmax over the classes of every pixel of a row */
function probabilities(scores, width) {
  const [most, sums] = [new Float32Array(width).fill(-Infinity), new Float32Array(width)];
  scores.forEach((score, place) => (most[place % width] = Math.max(most[place % width], score)));
  const raised = scores.map((score, place) => Math.exp(score - most[place % width]));
  raised.forEach((value, place) => (sums[place % width] += value));
  return raised.map((value, place) => value / sums[place % width]);
}

/** Round as Python does: a half goes to the even neighbour. */
function halfToEven(value) {
  const whole = Math.round(value);
  return value % 1 === 0.5 && whole % 2 ? whole - 1 : whole;
}
