/** Pictures as answers hold them, and the canvases they are drawn on. */

/**
 * @param {string | ImageData} picture a PNG file in base64, as the service sends it, or pixels that were computed here
 * @returns {Promise<ImageBitmap>} its very numbers: no colour profile, no alpha multiplied in
 */
export function bitmapOf(picture) {
  const unchanged = { colorSpaceConversion: "none", premultiplyAlpha: "none" };
  if (picture instanceof ImageData) return createImageBitmap(picture, unchanged);
  const bytes = Uint8Array.from(atob(picture), (character) => character.charCodeAt(0));
  return createImageBitmap(new Blob([bytes], { type: "image/png" }), unchanged);
}

/**
 * @param {HTMLCanvasElement} canvas takes on the size that is given
 * @param {ImageBitmap} bitmap
 * @param {number} [width] pixels; those of the bitmap if left out
 * @param {number} [height]
 */
export function draw(canvas, bitmap, width = bitmap.width, height = bitmap.height) {
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").drawImage(bitmap, 0, 0, width, height);
}

/**
 * @param {ImageBitmap} bitmap
 * @returns {Uint8Array} its first channel, row by row: the numbers of a greyscale picture
 */
export function greyLevels(bitmap) {
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d", { willReadFrequently: true });
  context.drawImage(bitmap, 0, 0);
  const rgba = context.getImageData(0, 0, bitmap.width, bitmap.height).data;
  const levels = new Uint8Array(rgba.length / 4);
  for (let place = 0; place < levels.length; place++) levels[place] = rgba[4 * place];
  return levels;
}

/**
 * Paint numbers of classes in their colours; what has no class stays clear.
 *
 * @param {HTMLCanvasElement} canvas takes on the size that is given
 * @param {Uint8Array} labels width × height numbers, row by row
 * @param {number} width
 * @param {number} height
 * @param {string[]} colours of all classes, as "#rrggbb"
 */
export function paintLabels(canvas, labels, width, height, colours) {
  const table = new Uint8Array(4 * 256);
  colours.forEach((colour, label) => {
    const channels = [1, 3, 5].map((at) => parseInt(colour.slice(at, at + 2), 16));
    table.set([...channels, 255], 4 * label);
  });
  const image = new ImageData(width, height);
  const [inks, pixels] = [new Uint32Array(table.buffer), new Uint32Array(image.data.buffer)]; // four channels at once
  for (let place = 0; place < labels.length; place++) pixels[place] = inks[labels[place]];
  canvas.width = width;
  canvas.height = height;
  canvas.getContext("2d").putImageData(image, 0, 0);
}

/**
 * @param {HTMLElement} stage holds canvases that lie on each other
 * @param {number} width
 * @param {number} height of what they show, in any unit
 */
export function setProportions(stage, width, height) {
  stage.style.aspectRatio = `${width} / ${height}`;
  stage.style.setProperty("--proportion", width / height);
}
