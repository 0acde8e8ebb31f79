"""Detections of many images, in order, with one setting for evaluation, features and distances.

Images with a side longer than `tiling.size` are searched in overlapping tiles.
"""

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import closing
from functools import partial
from itertools import groupby, islice
from typing import NamedTuple

import torch
from jaxtyping import Float, Int, UInt8
from numpy import ndarray
from torch import Tensor

from ptl_sweep.config.schema import InferenceConfig
from ptl_sweep.datasets.ahead import Decoded, decoded_ahead
from ptl_sweep.datasets.images import ImageCache
from ptl_sweep.datasets.records import ImageRecord
from ptl_sweep.detection.detector import Detections, Detector, Probes
from ptl_sweep.detection.pixels import Resize, View, load_image, on_cpu, resized_size, to_device
from ptl_sweep.detection.tiling import grid_of, merge_tiles

TOUCH = 4.0  # pixels that the detector sees, within which a box ends at the border of its tile
PADDING = 32  # pixels, at most as many as an image is padded with
BATCHES_AHEAD = 3  # decoded while one is computed


NO_BOXES = torch.zeros(0, 4)


class NetworkInput(NamedTuple):
    """What the detector sees at once, and the factor that leads back to stored pixels."""

    image: Float[Tensor, "3 h w"]
    to_stored: Float[Tensor, " 4"]
    boxes: Float[Tensor, "m 4"]  # where features are wanted, stored pixels of what is seen


class Found(NamedTuple):
    """What was found in one picture, and what was computed at its wanted boxes, on the CPU."""

    detections: Detections  # boxes in stored pixels
    probes: Probes | None  # in the order of the wanted boxes


def detect_records(
    detector: Detector,
    records: Iterable[ImageRecord],
    inference: InferenceConfig,
    *,
    cache: ImageCache,
    view: View,
    nms: bool = True,
) -> Iterator[Detections]:
    """Detections of each record, in order, on the CPU, boxes in stored-image pixels.

    Puts the detector into eval mode. Neighbouring images of one size share a forward pass. With
    nms=False all candidates are returned (`Detector.detect`). For tiled images `cells` runs on
    from tile to tile, so that (level, cell) still names one place.
    """
    detector.eval()
    device = detector.mean.device
    decoded = decoded_ahead(
        records, cache, lookahead=num_ahead(device, BATCHES_AHEAD * inference.batch_size)
    )
    search = partial(_searched, detector, inference=inference, nms=nms)
    with closing(decoded):
        for found in _over_records(search, decoded, inference, view=view, device=device, nms=nms):
            yield found.detections


def detect_and_probe_records(
    detector: Detector,
    records: Iterable[ImageRecord],
    inference: InferenceConfig,
    *,
    cache: ImageCache,
    view: View,
) -> Iterator[tuple[Detections, Probes]]:
    """`detect_records`, and the features at the persons of each record from the same pass.

    In a tiled image a person is looked up in the tile whose border is farthest from its box.
    """
    detector.eval()
    device = detector.mean.device
    decoded = decoded_ahead(
        records, cache, lookahead=num_ahead(device, BATCHES_AHEAD * inference.batch_size)
    )
    search = partial(_probed, detector, inference=inference)
    with closing(decoded):
        for found in _over_records(search, decoded, inference, view=view, device=device, nms=True):
            assert found.probes is not None
            yield found.detections, found.probes


def num_ahead(device: torch.device, num_images: int) -> int:
    """Images to decode on threads while others are computed: none where decoding competes."""
    return 0 if device.type == "cpu" else num_images


Search = Callable[[Iterator[NetworkInput]], Iterator[Found]]


def _over_records(
    search: Search,
    decoded: Iterator[Decoded],
    inference: InferenceConfig,
    *,
    view: View,
    device: torch.device,
    nms: bool,
) -> Iterator[Found]:
    by_tile_side = groupby(decoded, lambda pair: view.tile_side(pair[0].height, pair[0].width))
    for side, run in by_tile_side:
        if side is not None:
            for one in run:
                yield _tiled(search, one, inference, view, device=device, nms=nms)
            continue
        yield from search(
            _picture(pixels, view.resize, device, torch.from_numpy(record.boxes))
            for record, pixels in run
        )


def _picture(
    pixels: UInt8[ndarray, "h w 3"],
    resize: Resize,
    device: torch.device,
    boxes: Float[Tensor, "m 4"] = NO_BOXES,
) -> NetworkInput:
    image = load_image(pixels, resize, device)
    down, across = (pixels.shape[axis] / image.shape[axis + 1] for axis in (0, 1))
    return NetworkInput(image, torch.tensor([across, down, across, down]), boxes)


def _same_size(pictures: Iterator[NetworkInput], limit: int) -> Iterator[list[NetworkInput]]:
    """Runs of neighbouring pictures of one size, at most `limit` long."""
    group: list[NetworkInput] = []
    for picture in pictures:
        if group and (len(group) == limit or picture.image.shape != group[0].image.shape):
            yield group
            group = []
        group.append(picture)
    if group:
        yield group


def _searched(
    detector: Detector, pictures: Iterator[NetworkInput], inference: InferenceConfig, *, nms: bool
) -> Iterator[Found]:
    for group in _same_size(pictures, inference.batch_size):
        images = torch.stack([picture.image for picture in group])
        found = _on_cpu(detector.detect(images, inference, nms=nms), [])[0]
        for picture, detections in zip(group, found, strict=True):
            yield Found(_stored(detections, picture), None)


def _probed(
    detector: Detector, pictures: Iterator[NetworkInput], inference: InferenceConfig
) -> Iterator[Found]:
    for group in _same_size(pictures, inference.batch_size):
        images = torch.stack([picture.image for picture in group])
        wanted = [
            to_device(picture.boxes / picture.to_stored, images.device).to(images.dtype)
            for picture in group
        ]
        found, probed = _on_cpu(*detector.detect_and_probe(images, wanted, inference))
        for picture, detections, probes in zip(group, found, probed, strict=True):
            yield Found(_stored(detections, picture), probes)


def _on_cpu(found: list[Detections], probed: list[Probes]) -> tuple[list[Detections], list[Probes]]:
    """All of a batch in one transfer."""
    fields = iter(on_cpu([field for one in (*found, *probed) for field in one]))
    return (
        [Detections(*islice(fields, len(one))) for one in found],
        [Probes(*islice(fields, len(one))) for one in probed],
    )


def _stored(detections: Detections, picture: NetworkInput) -> Detections:
    """Boxes in stored pixels."""
    return detections._replace(boxes=detections.boxes * picture.to_stored)


def _tiled(
    search: Search,
    decoded: Decoded,
    inference: InferenceConfig,
    view: View,
    *,
    device: torch.device,
    nms: bool,
) -> Found:
    """One image, searched in tiles of its stored pixels.

    Each tile is resized and searched as a whole image is, `inference.batch_size` at a time, and
    `inference` holds for each; max_detections holds once more for the merged detections.
    """
    record, pixels = decoded
    side = view.tiling.size
    assert side is not None
    grid = grid_of(pixels.shape[0], pixels.shape[1], side, view.tiling.overlap)
    height, width = grid.rows.length, grid.columns.length
    corners = list(grid.corners())
    boxes = torch.from_numpy(record.boxes)
    owner = _best_tiles(boxes, corners, height, width)
    pictures = (
        _picture(
            pixels[top : top + height, left : left + width],
            view.resize,
            device,
            boxes[owner == index] - torch.tensor([left, top, left, top]),
        )
        for index, (top, left) in enumerate(corners)
    )
    seen = resized_size(height, width, view.resize)
    touch = TOUCH * max(height / seen[0], width / seen[1])
    parts = _numbered(search(pictures), _most_cells(*seen))
    probes: list[Probes | None] = []
    detections = merge_tiles(_kept(parts, probes), grid, inference, touch=touch, nms=nms)
    return Found(detections, _in_order(probes, owner))


def _numbered(found: Iterator[Found], most_cells: int) -> Iterator[Found]:
    """Cells that run on from tile to tile."""
    for index, (detections, probes) in enumerate(found):
        yield Found(
            detections._replace(cells=detections.cells + index * most_cells),
            probes and probes._replace(cells=probes.cells + index * most_cells),
        )


def _kept(found: Iterator[Found], probes: list[Probes | None]) -> Iterator[Detections]:
    """The detections; what comes with them is put aside."""
    for part in found:
        probes.append(part.probes)
        yield part.detections


def _in_order(probes: list[Probes | None], owner: Int[Tensor, " m"]) -> Probes | None:
    """The probes of all tiles in the order of the image's boxes; `owner`: tile of each box."""
    parts = [part for part in probes if part is not None]
    if len(parts) != len(probes):
        return None
    place = owner.argsort(stable=True).argsort()
    return Probes(*(torch.cat(fields)[place] for fields in zip(*parts, strict=True)))


def _best_tiles(
    boxes: Float[Tensor, "m 4"], corners: Sequence[tuple[int, int]], height: int, width: int
) -> Int[Tensor, " m"]:
    """Of each box the tile whose border is farthest from it; negative distances: it is cut."""
    start = torch.tensor([[left, top] for top, left in corners], dtype=torch.float32)
    end = start + torch.tensor([width, height])
    room = torch.cat([boxes[:, None, :2] - start, end - boxes[:, None, 2:]], dim=2)
    best: Int[Tensor, " m"] = room.amin(2).argmax(1)
    return best


def _most_cells(height: int, width: int) -> int:
    """A picture of this size has no level with more cells than padded pixels."""
    return (height + PADDING) * (width + PADDING)
