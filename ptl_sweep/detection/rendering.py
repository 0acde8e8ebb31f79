"""The pictures of a planned batch, made on the device out of images that lie there as bytes.

The host cuts, resizes and converts nothing: it queues a handful of kernels an image, and on a GPU
that holds the images it sends a few hundred bytes a batch.
"""

from collections.abc import Iterable, Sequence
from typing import NamedTuple

import numpy as np
import torch
from jaxtyping import Float, UInt8
from torch import Tensor
from torch.nn import functional

from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord, PixelSource
from ptl_sweep.detection.pasting import PlannedPaste, paste_person
from ptl_sweep.detection.pixels import CropWindow, to_device
from ptl_sweep.detection.sampling import PlannedSample

DEFAULT_SHARE = 8  # of the memory that is free at the start: several trainings may share a GPU


class Batch(NamedTuple):
    """RGB images in [0, 1] with persons and ignored regions, xyxy pixels, float32."""

    images: Float[Tensor, "b 3 h w"]
    boxes: list[Float[Tensor, "_ 4"]]
    ignored: list[Float[Tensor, "_ 4"]]


def device_budget(wanted_mb: int | None, device: torch.device) -> int:
    """Bytes of images that a device may hold; None: an eighth of what is free on it now."""
    if device.type != "cuda":
        return 0  # the host's cache holds them
    if wanted_mb is not None:
        return wanted_mb * 2**20
    free, _ = torch.cuda.mem_get_info(device)
    return int(free) // DEFAULT_SHARE


class DeviceImages:
    """Images as bytes where the detector is.

    A GPU keeps the first ones up to `max_bytes` for good, since batches draw from all images alike;
    the others are read from the host's cache and copied for each use.
    """

    def __init__(self, cache: ImageCache, device: torch.device, max_bytes: int) -> None:
        self.cache = cache
        self.device = device
        self._max_bytes = max_bytes
        self.num_bytes = 0
        # by identity, as the host's cache; the source is held so that its id stays its own
        self._kept: dict[int, tuple[PixelSource, UInt8[Tensor, "h w 3"]]] = {}

    def part(self, record: ImageRecord, window: CropWindow) -> UInt8[Tensor, "3 h w"]:
        """The window of an image, in its stored pixels. Raises: DataError."""
        rows, columns = window.slices
        if self.device.type == "cpu":
            pixels = torch.from_numpy(np.array(self.cache.read(record)[rows, columns]))
        else:
            pixels = self._whole(record)[rows, columns]
        return pixels.permute(2, 0, 1)

    def expect(self, records: Iterable[ImageRecord]) -> None:
        """Start to decode, on threads, what a GPU will need soon and does not hold."""
        if self.device.type != "cpu":
            self.cache.expect(one for one in records if id(one.pixels) not in self._kept)

    def _whole(self, record: ImageRecord) -> UInt8[Tensor, "h w 3"]:
        key = id(record.pixels)
        if key in self._kept:
            return self._kept[key][1]
        pixels = to_device(torch.from_numpy(np.array(self.cache.read(record))), self.device)
        if self.num_bytes + pixels.nbytes <= self._max_bytes:
            self._kept[key] = (record.pixels, pixels)
            self.num_bytes += pixels.nbytes
        return pixels


class BatchRenderer:
    """Makes batches of plans; smaller pictures are padded with a colour on the right and below."""

    def __init__(self, images: DeviceImages, fill: Float[Tensor, "3 1 1"]) -> None:
        self.images = images
        self.fill = fill.to(images.device)

    def render(self, samples: Sequence[PlannedSample], crop_size: int | None) -> Batch:
        """Images of `crop_size`, or else as large as the largest sample. Raises: DataError."""
        height, width = (max(sample.sides[axis] for sample in samples) for axis in (0, 1))
        if crop_size is not None:
            height = width = crop_size
        device = self.images.device
        # channels last: as the bytes lie, and as the convolutions of a GPU want them
        last = torch.channels_last if device.type == "cuda" else torch.contiguous_format
        images = torch.empty((len(samples), 3, height, width), device=device, memory_format=last)
        for place, sample in zip(images, samples, strict=True):
            rows, columns = sample.sides
            place[:, :rows, :columns] = self._picture(sample)
        self._recolour(images, samples)
        counts = [len(boxes) for one in samples for boxes in (one.boxes, one.ignored)]
        together = np.concatenate([boxes for one in samples for boxes in (one.boxes, one.ignored)])
        boxes = torch.split(to_device(torch.from_numpy(together), device), counts)
        return Batch(images, list(boxes[::2]), list(boxes[1::2]))

    def _picture(self, sample: PlannedSample) -> Float[Tensor, "3 h w"]:
        """RGB in [0, 1], resized bilinearly as torchvision does (no antialiasing), pasted on, then
        flipped and turned.
        """
        part, window = sample.part, sample.window
        if sample.seen == (part.height, part.width):  # pixel for pixel: no more than is seen
            left, top = part.left + window.left, part.top + window.top
            stored = window._replace(left=left, top=top)
            picture = self.images.part(sample.record, stored).float() / 255
        else:
            pixels = self.images.part(sample.record, part).float() / 255
            resized = functional.interpolate(pixels[None], size=sample.seen, mode="bilinear")[0]
            rows, columns = window.slices
            picture = resized[:, rows, columns]
        for paste in sample.pastes:
            paste_person(picture, self._person(paste), paste)
        return sample.symmetry.of_picture(picture)

    def _person(self, paste: PlannedPaste) -> Float[Tensor, "3 p q"]:
        pixels = self.images.part(paste.record, paste.part).float() / 255
        size = (paste.target.height, paste.target.width)
        if size == tuple(pixels.shape[1:]):
            return pixels
        return functional.interpolate(pixels[None], size=size, mode="bilinear")[0]

    def _recolour(self, images: Float[Tensor, "b 3 h w"], samples: Sequence[PlannedSample]) -> None:
        """Apply the gains, in place, and then fill what the pictures do not reach."""
        height, width = images.shape[2:]
        gains = [sample.gain for sample in samples if sample.gain is not None]
        if gains:
            factor = torch.from_numpy(np.stack(gains).astype(np.float32))
            images.mul_(to_device(factor, images.device)[:, :, None, None]).clamp_(0, 1)
        for place, sample in zip(images, samples, strict=True):
            rows, columns = sample.sides
            if rows < height:
                place[:, rows:] = self.fill
            if columns < width:
                place[:, :rows, columns:] = self.fill
