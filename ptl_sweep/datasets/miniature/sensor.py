"""From light to the picture that the camera stores: exposure, blur, noise, JPEG."""

import io

import numpy as np
from jaxtyping import Float, UInt8
from numpy import ndarray
from numpy.random import Generator
from PIL import Image, ImageFilter

from ptl_sweep.datasets.miniature.domains import Domain
from ptl_sweep.datasets.miniature.terrain import TILE_PX, WHITE_NOISE, noise_tile

HAZE_LEVEL = 0.75


def expose(
    rng: Generator, domain: Domain, light: Float[ndarray, "h w 3"]
) -> UInt8[ndarray, "h w 3"]:
    """The picture of `light` (RGB, about [0, 1]) that this domain's camera stores."""
    image = Image.fromarray(_to_bytes(_develop(rng, domain, light)))
    if domain.blur_px:
        image = image.filter(ImageFilter.GaussianBlur(domain.blur_px * rng.uniform(0.7, 1.4)))
    if domain.noise:
        image = Image.fromarray(_to_bytes(_add_noise(rng, domain, np.asarray(image))))
    if domain.jpeg_quality is not None:
        image = _through_jpeg(image, int(rng.integers(*domain.jpeg_quality)))
    return np.array(image.convert("RGB"))


def _develop(
    rng: Generator, domain: Domain, light: Float[ndarray, "h w 3"]
) -> Float[ndarray, "h w 3"]:
    developed: ndarray = (light - 0.5) * domain.contrast + 0.5
    if domain.computer_graphics:
        return developed
    developed = (light - 0.5) * domain.contrast * rng.uniform(0.85, 1.1) + 0.5
    developed = developed * (1 - domain.haze) + domain.haze * HAZE_LEVEL
    developed *= np.array(domain.gain, np.float32)
    return developed * np.float32(rng.uniform(0.85, 1.12))


def _add_noise(
    rng: Generator, domain: Domain, image: UInt8[ndarray, "h w 3"]
) -> Float[ndarray, "h w 3"]:
    """Noise that grows with the light, cut from a tile of white noise at random offsets."""
    level = image.astype(np.float32) / 255
    tile, (height, width) = noise_tile(*WHITE_NOISE), level.shape[:2]
    shifts = rng.integers(0, TILE_PX, (3, 2))
    channels = [
        tile[np.ix_((np.arange(height) - down) % TILE_PX, (np.arange(width) - right) % TILE_PX)]
        for down, right in shifts
    ]
    amplitude = np.sqrt(level + np.float32(0.15))
    noisy: ndarray = level + np.stack(channels, -1) * np.float32(domain.noise) * amplitude
    return noisy


def _through_jpeg(image: Image.Image, quality: int) -> Image.Image:
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=quality)
    return Image.open(buffer)


def _to_bytes(light: Float[ndarray, "h w 3"]) -> UInt8[ndarray, "h w 3"]:
    image: ndarray = (np.clip(light, 0, 1) * 255).astype(np.uint8)
    return image
