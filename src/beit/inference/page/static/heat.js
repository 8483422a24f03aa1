/** Heat maps: numbers as colours. */

// Inferno of matplotlib at nine places: even steps of brightness, and readable without colour vision.
const STOPS = ["000004", "210c4a", "57106e", "8a226a", "bc3754", "e45a31", "f98e09", "f9cb35", "fcffa4"].map((hex) =>
  [0, 2, 4].map((at) => parseInt(hex.slice(at, at + 2), 16)),
);
const FAINTEST = 0.3; // opacity of the darkest colour: the picture stays visible where there is no heat

/** @param {number} value in [0, 1] @returns {number[]} red, green, blue and opacity in [0, 255] */
export function heatColour(value) {
  const place = Math.min(1, Math.max(0, value)) * (STOPS.length - 1);
  const low = Math.min(Math.floor(place), STOPS.length - 2);
  const colour = STOPS[low].map((level, channel) => level + (place - low) * (STOPS[low + 1][channel] - level));
  return [...colour, 255 * (FAINTEST + (1 - FAINTEST) * (place / (STOPS.length - 1)))];
}

/**
 * Paint one pixel for each number.
 *
 * @param {HTMLCanvasElement} canvas takes the size (cols, rows)
 * @param {number[]} values rows × cols numbers, row by row
 * @param {number} rows
 * @param {number} cols
 * @param {number} most the number that has the brightest colour; 0 has the darkest
 */
export function paintHeat(canvas, values, rows, cols, most) {
  const image = new ImageData(cols, rows);
  values.forEach((value, index) => image.data.set(heatColour(most > 0 ? value / most : 0), 4 * index));
  canvas.width = cols;
  canvas.height = rows;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/**
 * Let the slider of a tab fade its overlay, and paint the colours that mean little to much beside it.
 * @param {HTMLElement} panel of the tab, with .opacity and .ramp
 * @param {string} overlay selector of what is faded
 */
export function explainOverlay(panel, overlay) {
  const opacity = panel.querySelector(".opacity");
  const fade = () => (panel.querySelector(overlay).style.opacity = opacity.value / 100);
  opacity.addEventListener("input", fade);
  fade();
  const steps = Array.from({ length: 64 }, (_, step) => step);
  paintHeat(panel.querySelector(".ramp"), steps, 1, 64, 63);
}
