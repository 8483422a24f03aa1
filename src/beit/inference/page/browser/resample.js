/**
 * Resizing as Pillow does it, to the same bits: each axis by a filter that widens as a picture shrinks, in whole numbers.
 *
 * @typedef {{width: number, height: number, data: Uint8ClampedArray}} Pixels RGBA, as ImageData has them; opacity is
 *   left out of what is computed, and full in the result
 * @typedef {[number, number, number, number]} Box left, top, right, bottom in pixels
 */

const BITS = 22; // after the point of a weight: 8 bits of a pixel and 2 to spare fill 32
const CHANNELS = 3;

const sinc = (x) => (x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x));

// By the numbers that preprocessor_config.json has for them: [reach to each side, weight at a distance].
const FILTERS = {
  1: [3, (x) => (x >= -3 && x < 3 ? sinc(x) * sinc(x / 3) : 0)], // Lanczos
  2: [1, (x) => Math.max(0, 1 - Math.abs(x))], // bilinear
  3: [2, (x) => cubic(Math.abs(x))],
  4: [0.5, (x) => (x > -0.5 && x <= 0.5 ? 1 : 0)], // box
  5: [1, (x) => (Math.abs(x) < 1 ? sinc(x) * (0.54 + 0.46 * Math.cos(Math.PI * x)) : 0)], // Hamming
};
export const [LANCZOS, BILINEAR, BICUBIC] = [1, 2, 3];

/**
 * @param {Pixels} picture
 * @param {number} width of the result
 * @param {number} height
 * @param {number} filter one of 1 to 5
 * @param {Box} [box] the part that is resized; default: all
 * @returns {ImageData}
 */
export function resize(picture, width, height, filter, box = [0, 0, picture.width, picture.height]) {
  const [left, top, right, bottom] = box.map(Math.fround); // as Pillow takes it
  const across = (pixels) => {
    if (width === picture.width && left === 0 && right === picture.width) return pixels;
    return along(pixels, weights(picture.width, left, right, width, FILTERS[filter]), width, pixels.height, 4);
  };
  const down = (pixels) => {
    if (height === picture.height && top === 0 && bottom === picture.height) return pixels;
    const shares = weights(picture.height, top, bottom, height, FILTERS[filter]);
    return along(pixels, shares, pixels.width, height, 4 * pixels.width);
  };
  // The order of Pillow from version 13 on, found by experiment: it decides how numbers are rounded between the two.
  const downFirst = picture.height > height && 2 * (picture.width - width) < picture.height - height;
  const { data } = downFirst ? across(down(picture)) : down(across(picture));
  return new ImageData(new Uint8ClampedArray(data), width, height);
}

function cubic(x) {
  const a = -0.5;
  if (x < 1) return ((a + 2) * x - (a + 3)) * x * x + 1;
  return x < 2 ? (((x - 5) * x + 8) * x - 4) * a : 0;
}

/** @returns {{first: number, shares: Int32Array}[]} for each place of the result the pixels that it is made of */
function weights(length, start, stop, places, [reach, filter]) {
  const scale = (stop - start) / places;
  const widened = Math.max(scale, 1);
  return Array.from({ length: places }, (_, place) => {
    const centre = start + (place + 0.5) * scale;
    const first = Math.max(0, Math.trunc(centre - reach * widened + 0.5));
    const end = Math.min(length, Math.trunc(centre + reach * widened + 0.5));
    const exact = Array.from({ length: end - first }, (_, at) => filter((first + at - centre + 0.5) * (1 / widened)));
    const sum = exact.reduce((total, share) => total + share, 0);
    const whole = exact.map((share) => share / sum).map((share) => Math.trunc(share * 2 ** BITS + (share < 0 ? -0.5 : 0.5)));
    return { first, shares: Int32Array.from(whole) };
  });
}

/** @returns {Pixels} resized along one axis; `step`: between neighbours there, 4 in a row or a row's length */
function along(pixels, weights, width, height, step) {
  const inRow = step === 4;
  const data = new Uint8ClampedArray(4 * width * height).fill(255);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const { first, shares } = weights[inRow ? column : row];
      const from = inRow ? 4 * (row * pixels.width + first) : first * step + 4 * column;
      for (let channel = 0; channel < CHANNELS; channel++) {
        let sum = 2 ** (BITS - 1);
        for (let at = 0; at < shares.length; at++) sum += pixels.data[from + at * step + channel] * shares[at];
        data[4 * (row * width + column) + channel] = Math.floor(sum / 2 ** BITS); // which the array clamps
      }
    }
  }
  return { width, height, data };
}
