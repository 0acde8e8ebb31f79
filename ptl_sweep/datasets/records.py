"""What every reader returns: images with boxes, where their pixels come from, and a fingerprint."""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Protocol, runtime_checkable

from jaxtyping import Float, UInt8
from numpy import ndarray


@runtime_checkable
class PixelSource(Protocol):
    """Where pixels come from: a file, or the miniature world that draws them."""

    def read(self) -> UInt8[ndarray, "h w 3"]:
        """Read the RGB image, EXIF orientation applied."""
        ...

    def read_masks(self) -> UInt8[ndarray, "n h w"]:
        """Read the coverage (0..255) of the person in each box; only pools have masks."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageRecord:
    """One image and its persons; boxes are xyxy float32 pixels of the stored image."""

    image_id: str  # unique within its image set, never a path outside its root
    width: int
    height: int
    boxes: Float[ndarray, "n 4"]  # persons
    ignored: Float[ndarray, "m 4"]  # regions where no detection is a false positive
    scene: str  # sequence or run of frames: the unit of splits and of the block bootstrap
    pixels: PixelSource
    attributes: Mapping[str, float | str] = field(default_factory=dict)  # altitude_m, pose, ...
    synthetic: bool = False  # made of a virtual image
    content: str | None = None  # hash of the image file's bytes, or of what it is composed of;
    # None for what is drawn by this project, and for what a stage has made


@dataclass(frozen=True, slots=True, kw_only=True)
class ImageSet:
    """One split of one data set, validated."""

    name: str
    split: str
    records: tuple[ImageRecord, ...]
    fingerprint: str  # 16 hex digits over names, bytes of images and boxes; never over paths
    drops: Mapping[str, int] = field(default_factory=dict)  # boxes left out, by reason
    warnings: tuple[str, ...] = ()

    @property
    def num_persons(self) -> int:
        """Count the boxes over all images."""
        return sum(len(record.boxes) for record in self.records)
