/** The geometry of `inference/preprocess.py`: which box of a picture becomes the pixels that the model takes. */

import { INTERPOLATIONS, resample } from './resample.js';

const JPEG_SCALES = [8, 4, 2];

/** Read the preprocess spec from timm's `pretrained_cfg`; throws where it asks for what is not done here. */
export function readSpec(cfg) {
  const [channels, height, width] = cfg.input_size;
  const spec = { height, width, interpolation: cfg.interpolation, cropShare: cfg.crop_pct };
  const center = (cfg.crop_mode ?? 'center') === 'center';
  if (channels !== 3 || !center || !INTERPOLATIONS.includes(spec.interpolation) || !(spec.cropShare > 0 && spec.cropShare <= 1)) {
    throw new Error(`The preprocess spec of the model is not supported: ${JSON.stringify(cfg)}`);
  }
  return spec;
}

/** Cut the centre out of an upright RGBA picture and resample it: RGB, `[height, width, 3]`. */
export function cropAndResize(image, spec) {
  return resample(image, centerBox(image.width, image.height, spec), spec.width, spec.height, spec.interpolation);
}

/** The box that resizing the shorter side and then cutting out the centre would keep, in pixels of the picture. */
export function centerBox(imageWidth, imageHeight, { height, width, cropShare }) {
  const scale = Math.max(Math.floor(height / cropShare) / imageHeight, Math.floor(width / cropShare) / imageWidth);
  const resizedWidth = Math.max(width, Math.trunc(imageWidth * scale + 1e-6));
  const resizedHeight = Math.max(height, Math.trunc(imageHeight * scale + 1e-6));
  const left = roundHalfEven((resizedWidth - width) / 2);
  const top = roundHalfEven((resizedHeight - height) / 2);
  const perX = imageWidth / resizedWidth;
  const perY = imageHeight / resizedHeight;
  const right = Math.min((left + width) * perX, imageWidth);
  const bottom = Math.min((top + height) * perY, imageHeight);
  return [left * perX, top * perY, right, bottom];
}

/** By how much Pillow decodes a JPEG smaller: the largest scale that leaves the input size. */
export function jpegScale(width, height, spec) {
  const shorter = Math.min(Math.floor(spec.height / spec.cropShare), Math.floor(spec.width / spec.cropShare));
  const share = shorter / Math.min(width, height);
  const by = Math.min(Math.floor(width / Math.ceil(width * share)), Math.floor(height / Math.ceil(height * share)));
  return JPEG_SCALES.find((scale) => by >= scale) ?? 1;
}

/** Python's `round`. */
function roundHalfEven(value) {
  const below = Math.floor(value);
  if (value - below !== 0.5) return Math.round(value);
  return below % 2 === 0 ? below : below + 1;
}
