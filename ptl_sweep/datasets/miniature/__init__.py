"""The embedded miniature world: procedural drone pictures drawn with NumPy and Pillow. A toy."""

from ptl_sweep.datasets.miniature.world import (
    RenderedImage,
    fingerprint_miniature,
    fingerprint_miniature_pool,
    num_images,
    num_pool_images,
    read_miniature,
    read_miniature_pool,
)

__all__ = [
    "RenderedImage",
    "fingerprint_miniature",
    "fingerprint_miniature_pool",
    "num_images",
    "num_pool_images",
    "read_miniature",
    "read_miniature_pool",
]
