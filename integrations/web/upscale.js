// Runs a network that `cclnn export` wrote on an image of the person's, tile by tile, in the browser.

import * as ort from "./onnxruntime-web/ort.wasm.min.mjs";

ort.env.wasm.wasmPaths = new URL("./onnxruntime-web/", import.meta.url).href;
ort.env.wasm.numThreads = self.crossOriginIsolated ? navigator.hardwareConcurrency : 1;

const element = (id) => document.getElementById(id);
const say = (text) => { element("status").textContent = text; };

async function loadSession() {
  const file = element("model").files[0];
  if (file) return ort.InferenceSession.create(new Uint8Array(await file.arrayBuffer()));
  return ort.InferenceSession.create(new URL("./model.onnx", import.meta.url).href);
}

// The image's pixels, four bytes each. Transparent parts are laid on white.
async function loadPixels() {
  const file = element("image").files[0];
  if (!file) throw new Error("Choose an image first.");
  const bitmap = await createImageBitmap(file);
  const canvas = new OffscreenCanvas(bitmap.width, bitmap.height);
  const context = canvas.getContext("2d");
  context.fillStyle = "white";
  context.fillRect(0, 0, canvas.width, canvas.height);
  context.drawImage(bitmap, 0, 0);
  return context.getImageData(0, 0, canvas.width, canvas.height);
}

// Pixels [top, bottom) x [left, right) as a tensor (1 3 h w), RGB in [0, 1].
function toTensor(pixels, top, bottom, left, right) {
  const height = bottom - top, width = right - left, plane = height * width;
  const values = new Float32Array(3 * plane);
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = 4 * ((top + row) * pixels.width + left + column), to = row * width + column;
      for (let channel = 0; channel < 3; channel++) values[channel * plane + to] = pixels.data[from + channel] / 255;
    }
  }
  return new ort.Tensor("float32", values, [1, 3, height, width]);
}

// Rows and columns of a result (1 3 h w) from `top`, `left` on, as an image of the given size.
function toImage(sr, top, left, height, width) {
  const [, , rows, columns] = sr.dims;
  const image = new ImageData(width, height), plane = rows * columns;
  for (let row = 0; row < height; row++) {
    for (let column = 0; column < width; column++) {
      const from = (top + row) * columns + left + column, to = 4 * (row * width + column);
      for (let channel = 0; channel < 3; channel++) image.data[to + channel] = 255 * sr.data[channel * plane + from];
      image.data[to + 3] = 255; // ImageData rounds and clamps what is assigned to it
    }
  }
  return image;
}

async function upscale() {
  const pixels = await loadPixels();
  say("Loading the network ...");
  const session = await loadSession();
  const tile = Number(element("tile").value), overlap = Number(element("overlap").value);
  const canvas = element("result"), context = canvas.getContext("2d");
  const { width, height } = pixels;
  const count = Math.ceil(height / tile) * Math.ceil(width / tile);
  let done = 0;
  for (let top = 0; top < height; top += tile) {
    for (let left = 0; left < width; left += tile) {
      const bottom = Math.min(top + tile, height), right = Math.min(left + tile, width);
      const outerTop = Math.max(top - overlap, 0), outerLeft = Math.max(left - overlap, 0);
      const outerBottom = Math.min(bottom + overlap, height), outerRight = Math.min(right + overlap, width);
      const input = toTensor(pixels, outerTop, outerBottom, outerLeft, outerRight);
      const { sr } = await session.run({ image: input });
      const scale = sr.dims[2] / input.dims[2];
      if (!done) [canvas.width, canvas.height] = [scale * width, scale * height];
      const part = toImage(
        sr, scale * (top - outerTop), scale * (left - outerLeft), scale * (bottom - top), scale * (right - left),
      );
      context.putImageData(part, scale * left, scale * top);
      done += 1;
      say(`${done} of ${count} tiles`);
      await new Promise((next) => setTimeout(next)); // lets the browser draw
    }
  }
  await session.release();
  const blob = await new Promise((give) => canvas.toBlob(give, "image/png"));
  element("save").href = URL.createObjectURL(blob);
  element("save").hidden = canvas.hidden = false;
  say(`Done: ${canvas.width} x ${canvas.height} pixels.`);
}

element("run").addEventListener("click", async () => {
  element("run").disabled = true;
  try {
    await upscale();
  } catch (error) {
    say(`This did not work: ${error.message}`);
  } finally {
    element("run").disabled = false;
  }
});
say("Ready.");
