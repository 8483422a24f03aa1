/**
 * The patch grid over a picture: one tab stop, arrow keys move, a press and what follows it (dragging the pointer, or
 * moving with shift) are passed to the owner.
 *
 * @typedef {{row: number, col: number}} Patch
 */

const ARROWS = { ArrowLeft: [0, -1], ArrowRight: [0, 1], ArrowUp: [-1, 0], ArrowDown: [1, 0] };

export class PatchGrid {
  #host;
  #owner;
  #rows = 0;
  #cols = 0;
  #here = { row: 0, col: 0 };

  /**
   * @param {HTMLElement} host the element with role "grid"; it lies over the picture and has its size
   * @param {{press?: (patch: Patch) => void, drag?: (patch: Patch) => void, move?: (patch: Patch) => void}} owner
   *   press: a pointer, space or enter on a patch; drag: the press goes on to a patch; move: an arrow key came to a patch
   */
  constructor(host, owner) {
    this.#host = host;
    this.#owner = owner;
    host.addEventListener("keydown", (event) => this.#key(event));
    host.addEventListener("pointerdown", (event) => this.#pointerDown(event));
    host.addEventListener("pointermove", (event) => this.#pointerMove(event));
  }

  /** @param {number} rows @param {number} cols of patches */
  setShape(rows, cols) {
    if (rows === this.#rows && cols === this.#cols) return;
    [this.#rows, this.#cols] = [rows, cols];
    this.#here = { row: 0, col: 0 };
    this.#host.style.setProperty("--rows", rows);
    this.#host.style.setProperty("--cols", cols);
    this.#host.replaceChildren(...Array.from({ length: rows }, (_, row) => gridRow(row, cols)));
    this.#cell(this.#here).tabIndex = 0;
  }

  /**
   * @param {(patch: Patch) => boolean} isSelected
   * @param {string} word what a selected patch is called, for screen readers
   */
  mark(isSelected, word) {
    for (let row = 0; row < this.#rows; row++) {
      for (let col = 0; col < this.#cols; col++) {
        const selected = isSelected({ row, col });
        const cell = this.#cell({ row, col });
        cell.setAttribute("aria-selected", String(selected));
        cell.setAttribute("aria-label", `row ${row + 1}, column ${col + 1}${selected ? `, ${word}` : ""}`);
      }
    }
  }

  #cell({ row, col }) {
    return this.#host.children[row].children[col];
  }

  #focus(patch) {
    this.#cell(this.#here).tabIndex = -1;
    this.#here = patch;
    this.#cell(patch).tabIndex = 0;
    this.#cell(patch).focus({ preventScroll: true });
  }

  #key(event) {
    if (event.altKey || event.metaKey) return; // the browser's own shortcuts
    const goal = this.#goal(event);
    if (!goal && event.key !== " " && event.key !== "Enter") return;
    event.preventDefault();
    if (!goal) return this.#owner.press?.(this.#here);
    this.#focus(goal);
    if (event.shiftKey) this.#owner.drag?.(goal);
    else this.#owner.move?.(goal);
  }

  #goal({ key, ctrlKey }) {
    const { row, col } = this.#here;
    if (key === "Home") return { row: ctrlKey ? 0 : row, col: 0 };
    if (key === "End") return { row: ctrlKey ? this.#rows - 1 : row, col: this.#cols - 1 };
    if (!ARROWS[key]) return null;
    const [down, right] = ARROWS[key];
    return { row: clamp(row + down, this.#rows), col: clamp(col + right, this.#cols) };
  }

  #pointerDown(event) {
    if (event.button !== 0) return;
    event.preventDefault(); // no text selection, and the focus goes to the patch instead
    this.#host.setPointerCapture(event.pointerId);
    this.#focus(this.#under(event));
    this.#owner.press?.(this.#here);
  }

  #pointerMove(event) {
    if (!this.#host.hasPointerCapture(event.pointerId)) return;
    const patch = this.#under(event);
    if (patch.row === this.#here.row && patch.col === this.#here.col) return;
    this.#focus(patch);
    this.#owner.drag?.(patch);
  }

  #under({ clientX, clientY }) {
    const box = this.#host.getBoundingClientRect();
    return {
      row: clamp(Math.floor(((clientY - box.top) / box.height) * this.#rows), this.#rows),
      col: clamp(Math.floor(((clientX - box.left) / box.width) * this.#cols), this.#cols),
    };
  }
}

function gridRow(row, cols) {
  const element = document.createElement("div");
  element.setAttribute("role", "row");
  element.append(
    ...Array.from({ length: cols }, (_, col) => {
      const cell = document.createElement("div");
      cell.setAttribute("role", "gridcell");
      cell.setAttribute("aria-label", `row ${row + 1}, column ${col + 1}`);
      cell.tabIndex = -1;
      return cell;
    }),
  );
  return element;
}

function clamp(number, count) {
  return Math.min(count - 1, Math.max(0, number));
}
