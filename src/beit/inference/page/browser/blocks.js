/** Block-wise masks as in pre-training (arXiv 2106.08254, algorithm 1). Their random numbers are not those of the package. */

const SMALLEST = 16; // patches of a block
const LOWEST_ASPECT = 0.3; // height over width
const ATTEMPTS = 10; // for a block; a mask is done when one has found no place
const FIRST_ATTEMPTS = 1000; // a mask is never empty

/**
 * @param {number} rows
 * @param {number} cols
 * @param {number} share how much of the grid is hidden at most
 * @param {number} seed
 * @returns {[number, number][]} row and column of the hidden patches
 */
export function blocks(rows, cols, share, seed) {
  const most = Math.max(1, Math.round(share * rows * cols));
  const smallest = Math.min(SMALLEST, most);
  const random = generator(seed);
  const hidden = new Set();
  for (let attempt = 0; attempt < (hidden.size ? ATTEMPTS : FIRST_ATTEMPTS) && hidden.size < most; attempt++) {
    const block = candidate(rows, cols, smallest, most - hidden.size, random);
    const added = block.filter((place) => !hidden.has(place));
    if (!added.length || hidden.size + added.length > most) continue;
    added.forEach((place) => hidden.add(place));
    attempt = -1;
  }
  return [...hidden].sort((one, other) => one - other).map((place) => [Math.floor(place / cols), place % cols]);
}

/** @returns {number[]} the places of a random rectangle; none if it is as long as the grid */
function candidate(rows, cols, smallest, allowed, random) {
  const area = smallest + random() * (allowed - smallest);
  const aspect = Math.exp((2 * random() - 1) * Math.log(1 / LOWEST_ASPECT));
  const [height, width] = [Math.round(Math.sqrt(area * aspect)), Math.round(Math.sqrt(area / aspect))];
  const [top, left] = [Math.floor(random() * (rows - height + 1)), Math.floor(random() * (cols - width + 1))];
  if (height >= rows || width >= cols) return [];
  return Array.from({ length: height * width }, (_, at) => (top + Math.floor(at / width)) * cols + left + (at % width));
}

/** Numbers in [0, 1) that a seed decides (mulberry32), since those of the browser cannot be repeated. */
function generator(seed) {
  let state = seed >>> 0;
  return () => {
    state = (state + 0x6d2b79f5) >>> 0;
    let mixed = Math.imul(state ^ (state >>> 15), state | 1);
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61);
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32;
  };
}
