/** The three ways of a picture onto the page: choosing, dropping and pasting it. */

/**
 * @param {HTMLInputElement} input the file input
 * @param {HTMLElement} zone lit up while a file is dragged over the page
 * @param {(picture: File) => void} onPicture
 */
export function takePictures(input, zone, onPicture) {
  const take = (files) => {
    if (files.length) onPicture(files[0]);
  };
  const drag = (inside) => (event) => {
    event.preventDefault(); // or the browser would leave the page to show the file
    zone.classList.toggle("dragged", inside);
  };
  input.addEventListener("change", () => take(input.files));
  document.addEventListener("dragover", drag(true));
  document.addEventListener("dragleave", drag(false));
  document.addEventListener("drop", (event) => {
    drag(false)(event);
    take(event.dataTransfer.files);
  });
  document.addEventListener("paste", (event) => take(event.clipboardData.files));
}

/** The chosen picture, small, with its name. */
export class Preview {
  #figure = document.querySelector("#chosen");
  #image = document.querySelector("#preview");
  #name = document.querySelector("#file-name");

  constructor() {
    // Some formats are known to the service alone.
    this.#image.addEventListener("error", () => (this.#image.hidden = true));
    this.#image.addEventListener("load", () => (this.#image.hidden = false));
  }

  /** @param {File} picture */
  show(picture) {
    URL.revokeObjectURL(this.#image.src);
    this.#image.src = URL.createObjectURL(picture);
    this.#image.alt = `The chosen picture, ${picture.name}`;
    this.#name.textContent = picture.name;
    this.#figure.hidden = false;
  }
}
