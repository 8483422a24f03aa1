/**
 * The files beside the page: its description, onnxruntime, and the models, each loaded once it is needed.
 *
 * @typedef {{path: string, bytes: number}} StoredFile
 */

import * as ort from "../runtime/ort.js";
import { ApiError } from "./api.js";

const ROOT = new URL("..", import.meta.url);
const RUNTIME = { path: "runtime/ort.wasm.gz" };
const MEGABYTE = 2 ** 20;
const GZIP = [0x1f, 0x8b]; // what such a file begins with

const sessions = new Map(); // path -> promise of a session
let report = () => {};
let description = null;

/** @param {(text: string) => void} onProgress called while a file arrives, and before it is started */
export function explainProgress(onProgress) {
  report = onProgress;
}

/** @returns {Promise<any>} what page.json says: tasks, models, and how pictures are shown to them */
export function describedPage() {
  description ??= fetched("page.json").then((response) => response.json());
  return description;
}

/**
 * Run a file of ONNX.
 *
 * @param {StoredFile} file
 * @param {Record<string, ort.Tensor>} inputs
 * @returns {Promise<Record<string, ort.Tensor>>} its outputs by their names
 */
export async function run(file, inputs) {
  if (!sessions.has(file.path)) sessions.set(file.path, started(file));
  try {
    return await (await sessions.get(file.path)).run(inputs);
  } catch (error) {
    sessions.delete(file.path);
    if (error instanceof ApiError) throw error;
    throw new ApiError(`this browser cannot run the model (${error.message}); it may lack the memory: close other tabs`);
  }
}

/** End every session but those of some files: the memory of a browser is small. @param {string[]} paths */
export async function keepOnly(paths) {
  for (const [path, session] of sessions) {
    if (paths.includes(path)) continue;
    sessions.delete(path);
    await (await session).release();
  }
}

export const { Tensor } = ort;

async function started(file) {
  if (!ort.env.wasm.wasmBinary) {
    const { bytes } = (await describedPage()).runtime;
    ort.env.wasm.wasmBinary = await unpacked(await download({ ...RUNTIME, bytes }, "the program that computes"));
    ort.env.wasm.numThreads = 1; // more need a page that its server isolates from all others
  }
  return ort.InferenceSession.create(await download(file, "the model"));
}

/** @returns {Promise<Uint8Array>} the content of a file, whose arrival is reported */
async function download({ path, bytes }, what) {
  const response = await fetched(path);
  const parts = [];
  let arrived = 0;
  const reader = response.body.getReader();
  for (let part = await reader.read(); !part.done; part = await reader.read()) {
    parts.push(part.value);
    arrived += part.value.length;
    report(`Loading ${what}: ${(arrived / MEGABYTE).toFixed(1)} of ${(bytes / MEGABYTE).toFixed(1)} MB …`);
  }
  report("Starting the model …");
  return new Uint8Array(await new Blob(parts).arrayBuffer());
}

async function fetched(path) {
  const response = await fetch(new URL(path, ROOT)).catch(() => null);
  if (response?.ok) return response;
  const reason = response ? `its server answered ${response.status}` : "its server did not answer";
  throw new ApiError(`${path} of this page did not arrive: ${reason}; try again, or put the whole folder there again`);
}

/** @returns {Promise<Uint8Array>} what a gzip file holds; some servers have unpacked it on the way */
async function unpacked(bytes) {
  if (GZIP.some((byte, place) => bytes[place] !== byte)) return bytes;
  const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
  return new Uint8Array(await new Response(stream).arrayBuffer());
}
