/**
 * Principal components of patch features as colours, and similarities between patches (DINOv2, arXiv 2304.07193,
 * section 7), as `beit.image.patch_colours` computes them.
 *
 * Legend: N patches, D features, C components, V vectors of the subspace iteration.
 *
 * @typedef {{rows: number, cols: number, size: number, data: ArrayLike<number>}} FeatureMap N × D numbers, row by row
 * @typedef {{mean: Float64Array, axes: Float64Array[], deviations: number[], shares: number[]}} Axes
 */

const COLOURS = 3;
const REACH = 2; // standard deviations of a component from the mean to its darkest and its brightest
const SPARE = 5; // vectors beside the three: they make the iteration converge
const ROUNDS = 300;
const SETTLED = 1e-12; // change of the variances in a round, as a share
const ROUNDING = 2 ** -23; // of float32, which features are

/**
 * @param {FeatureMap} map
 * @param {boolean} foreground whether the foreground alone is coloured, by a second PCA of its patches
 * @returns {{colours: ImageData, shares: number[]}} a pixel for every patch; the background is black
 */
export function patchColours(map, foreground) {
  const all = range(map.rows * map.cols);
  const axes = principalAxes(map, all);
  const split = foreground ? inFront(map, scores(map, axes, 0)) : all;
  const used = foreground && split.length ? principalAxes(map, split) : axes;
  const colours = new ImageData(map.cols, map.rows);
  for (let place = 3; place < colours.data.length; place += 4) colours.data[place] = 255;
  for (let component = 0; component < COLOURS; component++) {
    const scale = used.deviations[component] > 0 ? used.deviations[component] : 1;
    const components = scores(map, used, component);
    for (const place of split) {
      const level = 0.5 + components[place] / scale / (2 * REACH);
      colours.data[4 * place + component] = 255 * Math.min(1, Math.max(0, level)); // which the array rounds
    }
  }
  return { colours, shares: used.shares };
}

/** @param {FeatureMap} map @param {number} patch its number @returns {number[]} cosine similarities of all to it */
export function similarities({ rows, cols, size, data }, patch) {
  const product = (one, other) => {
    let sum = 0;
    for (let at = 0; at < size; at++) sum += data[one * size + at] * data[other * size + at];
    return sum;
  };
  const lengths = range(rows * cols).map((place) => Math.sqrt(product(place, place)));
  return lengths.map((length, place) => {
    const scale = length * lengths[patch];
    return Math.min(1, Math.max(-1, product(place, patch) / (scale > 0 ? scale : 1)));
  });
}

/** @returns {number[]} patches on the side of the first component that has fewer of its patches on the border */
function inFront({ rows, cols }, first) {
  const sides = [-1, 1].map((side) => range(rows * cols).filter((place) => side * first[place] > 0));
  const onBorder = (place) => {
    const [row, col] = [Math.floor(place / cols), place % cols];
    return row === 0 || col === 0 || row === rows - 1 || col === cols - 1;
  };
  const [below, above] = sides.map((side) => side.filter(onBorder).length / Math.max(side.length, 1));
  return below < above ? sides[0] : sides[1];
}

/** @returns {Float64Array} a component of every patch */
function scores({ rows, cols, size, data }, { mean, axes }, component) {
  return Float64Array.from({ length: rows * cols }, (_, place) => {
    let sum = 0;
    for (let at = 0; at < size; at++) sum += (data[place * size + at] - mean[at]) * axes[component][at];
    return sum;
  });
}

/**
 * The first three principal axes of some patches, by subspace iteration on their covariance. An axis points to where
 * its largest loading is positive, as in the package.
 *
 * @param {FeatureMap} map
 * @param {number[]} patches
 * @returns {Axes}
 */
function principalAxes({ size, data }, patches) {
  const mean = new Float64Array(size);
  for (const place of patches) for (let at = 0; at < size; at++) mean[at] += data[place * size + at] / patches.length;
  const centred = patches.map((place) => Float64Array.from(mean, (middle, at) => data[place * size + at] - middle));
  const squares = patches.reduce((sum, place) => sum + norm(data, place * size, size), 0);
  const total = centred.reduce((sum, row) => sum + norm(row, 0, size), 0);
  const { vectors, variances } = leading(centred, Math.min(COLOURS + SPARE, patches.length, size));
  const real = variances.map((variance) => Math.sqrt(variance) > ROUNDING * Math.sqrt(squares));
  const kept = range(COLOURS).map((component) => (real[component] ? variances[component] : 0));
  return {
    mean,
    axes: kept.map((variance, component) => (variance > 0 ? pointed(vectors[component]) : new Float64Array(size))),
    deviations: kept.map((variance) => Math.sqrt(variance / Math.max(patches.length - 1, 1))),
    shares: kept.map((variance) => variance / (total > 0 ? total : 1)),
  };
}

/** @returns {{vectors: Float64Array[], variances: number[]}} of the greatest variance first */
function leading(rows, count) {
  const size = rows[0].length;
  let vectors = range(count).map((vector) => Float64Array.from({ length: size }, (_, at) => Math.sin(1 + at * (vector + 2) ** 2)));
  let variances = [];
  for (let round = 0; round < ROUNDS; round++) {
    const turned = orthonormal(vectors);
    const images = turned.map((vector) => covarianceTimes(rows, vector));
    const { values, turns } = eigen(turned.map((one) => images.map((other) => dot(one, other))));
    const order = range(count).sort((one, other) => values[other] - values[one]);
    const found = order.map((place) => Math.max(0, values[place]));
    const combined = (parts, place) =>
      Float64Array.from({ length: size }, (_, at) => parts.reduce((sum, part, from) => sum + part[at] * turns[from][place], 0));
    const settled = found.slice(0, COLOURS).every((value, at) => Math.abs(value - variances[at]) <= SETTLED * found[0]);
    variances = found;
    if (settled) return { vectors: order.map((place) => combined(turned, place)), variances };
    vectors = order.map((place) => combined(images, place));
  }
  return { vectors: orthonormal(vectors), variances };
}

function covarianceTimes(rows, vector) {
  const image = new Float64Array(vector.length);
  for (const row of rows) {
    const length = dot(row, vector);
    for (let at = 0; at < image.length; at++) image[at] += length * row[at];
  }
  return image;
}

/** Gram and Schmidt, twice, which makes up for rounding. */
function orthonormal(vectors) {
  const found = [];
  for (const vector of vectors) {
    const rest = Float64Array.from(vector);
    for (let pass = 0; pass < 2; pass++) {
      for (const other of found) {
        const length = dot(rest, other);
        for (let at = 0; at < rest.length; at++) rest[at] -= length * other[at];
      }
      const scale = Math.sqrt(dot(rest, rest));
      for (let at = 0; at < rest.length; at++) rest[at] /= scale > 0 ? scale : 1;
    }
    found.push(rest);
  }
  return found;
}

/** Eigenvalues of a small symmetric matrix, and its eigenvectors as columns, by Jacobi's rotations. */
function eigen(matrix) {
  const [values, turns] = [matrix.map((row) => [...row]), matrix.map((_, row) => matrix.map((_, col) => +(row === col)))];
  for (let sweep = 0; sweep < 30; sweep++) {
    for (let p = 0; p < matrix.length; p++) {
      for (let q = p + 1; q < matrix.length; q++) {
        if (values[p][q] === 0) continue;
        const angle = 0.5 * Math.atan2(2 * values[p][q], values[q][q] - values[p][p]);
        const [cosine, sine] = [Math.cos(angle), Math.sin(angle)];
        const turn = (row) => ([row[p], row[q]] = [cosine * row[p] - sine * row[q], sine * row[p] + cosine * row[q]]);
        values.forEach(turn);
        for (let at = 0; at < matrix.length; at++) {
          const [upper, lower] = [values[p][at], values[q][at]];
          [values[p][at], values[q][at]] = [cosine * upper - sine * lower, sine * upper + cosine * lower];
        }
        turns.forEach(turn);
      }
    }
  }
  return { values: values.map((row, at) => row[at]), turns };
}

function pointed(axis) {
  const largest = axis.reduce((best, value) => (Math.abs(value) > Math.abs(best) ? value : best), 0);
  return largest < 0 ? axis.map((value) => -value) : axis;
}

function dot(one, other) {
  let sum = 0;
  for (let at = 0; at < one.length; at++) sum += one[at] * other[at];
  return sum;
}

/** The sum of squares of `size` numbers. */
function norm(data, from, size) {
  let sum = 0;
  for (let at = from; at < from + size; at++) sum += data[at] * data[at];
  return sum;
}

function range(count) {
  return Array.from({ length: count }, (_, place) => place);
}
