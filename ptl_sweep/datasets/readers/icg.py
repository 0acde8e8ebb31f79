"""ICG Semantic Drone Dataset: 6000x4000 images, person boxes in a pickle that runs no code here."""

import io
import pickle
import pickletools
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from jaxtyping import Float
from numpy import ndarray

from ptl_sweep.config.checks import ConfigError, one_of
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import image_size, list_images
from ptl_sweep.datasets.readers.validator import Labels, Validator
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import SPLITS, assign_scenes, spread
from ptl_sweep.datasets.validation import (
    MAX_COORDINATE_PX,
    DataError,
    data_error,
    quoted,
    read_bytes,
    refuse_categories,
    require_root,
)

BOXES = Path("gt/bounding_box/bounding_boxes/person/imgIdToBBoxArray.p")  # in training_set/
MAX_BYTES = 4 * 2**20  # of the pickle; 1557 boxes take a tenth of it
MAX_BOXES = 10_000  # of one image
_REPACK = ("original_images", "label_images_semantic")  # folders of the copy on Kaggle
_FIX = (
    "take the file from the official download (training_set/gt/bounding_box); never load a pickle "
    "of unknown origin by other means"
)
# What Python writes for a dict of lists of arrays; the rest could build other objects or claim
# memory before the file is read.
_OPCODES = (
    "PROTO", "FRAME", "STOP", "MARK", "NONE", "NEWTRUE", "NEWFALSE", "EMPTY_DICT", "EMPTY_LIST",
    "EMPTY_TUPLE", "TUPLE", "TUPLE1", "TUPLE2", "TUPLE3", "BININT", "BININT1", "BININT2",
    "BINUNICODE", "SHORT_BINUNICODE", "BINBYTES", "SHORT_BINBYTES", "APPEND", "APPENDS", "SETITEM",
    "SETITEMS", "GLOBAL", "STACK_GLOBAL", "REDUCE", "BUILD", "MEMOIZE", "BINPUT", "LONG_BINPUT",
    "BINGET", "LONG_BINGET",
)  # fmt: skip

Boxes = dict[str, list[Float[ndarray, "2 2"]]]  # [[xmin, ymin], [xmax, ymax]] by image id


def read_icg(config: DatasetConfig, split: str) -> ImageSet:
    """Read the public images that have an entry in the box file: `all`, or a share of them.

    `root` holds training_set/ as the official zip has it, or is that folder. The official test
    images are private, so train, validation and test are what `scene_fractions` makes of the
    public ones; every image is a scene. An image with an empty list is a negative; images without
    entry are counted and left out.
    Raises: DataError for files that cannot be used, ConfigError for keys that do not fit them.
    """
    _require_fitting_keys(config, split)
    root = require_root(config, "training_set/images and training_set/gt")
    folder = _training_set(root)
    boxes = read_boxes(folder / BOXES)
    validator = Validator(config, split)
    known = _with_boxes(folder, boxes, validator)
    for image in spread(_share(known, config, split), config.num_images):
        corners = _corners(boxes[image.stem], image.stem, folder / BOXES)
        labels = Labels.of_persons(folder / BOXES, corners)
        validator.add(image.stem, image.stem, image, image_size(image), labels)
    return validator.image_set()


def _require_fitting_keys(config: DatasetConfig, split: str) -> None:
    one_of(f"{config.name}.split", split, (*SPLITS, "all"))
    refuse_categories(config, "the ICG set")
    shares = config.scene_fractions
    if split != "all" and (shares is None or shares[SPLITS.index(split)] == 0):
        raise ConfigError(
            f"{config.name}.split={split} needs a share of the public images, but "
            f"scene_fractions is {shares}: set split=all, or scene_fractions=[0.7,0.15,0.15]"
        )


def _training_set(root: Path) -> Path:
    """The folder with images/ and gt/."""
    inside = sorted(path for path in root.iterdir() if path.is_dir())
    for base in (root, root / "training_set", *(path / "training_set" for path in inside)):
        if (base / BOXES).is_file() and (base / "images").is_dir():
            return base
    for base in (root, *inside, *(deep for path in inside for deep in path.iterdir())):
        if any((base / name).is_dir() for name in _REPACK):
            raise data_error(
                base,
                "is the re-packed copy (Kaggle), which has no boxes",
                "request the official download of TU Graz (Semantic Drone Dataset), which has "
                f"training_set/{BOXES}",
            )
    raise data_error(
        root,
        f"neither images/ and {BOXES} nor training_set/ with both is there",
        "unpack the official download there: training_set/images and training_set/gt",
    )


def _with_boxes(folder: Path, boxes: Boxes, validator: Validator) -> list[Path]:
    """The images that have an entry; counts images and entries without the other."""
    images = list_images(folder / "images")
    for image in images:
        if image.stem not in boxes:
            validator.drop("image without entry in the box file", 1)
            validator.warn("images without entry in the box file, left out", image.name)
    for image_id in sorted(boxes.keys() - {image.stem for image in images}):
        validator.warn("entries of the box file without image", quoted(image_id))
    return [image for image in images if image.stem in boxes]


def _share(images: list[Path], config: DatasetConfig, split: str) -> list[Path]:
    """The images of the split, every image a scene of its own."""
    if split == "all" or config.scene_fractions is None:
        return images
    assigned = assign_scenes([image.stem for image in images], config.scene_fractions)
    return [image for image, name in zip(images, assigned, strict=True) if name == split]


def _corners(
    boxes: list[Float[ndarray, "2 2"]], image_id: str, path: Path
) -> Float[ndarray, "n 4"]:
    """Xyxy in pixels. Raises: DataError for a number that is none, too large or out of order."""
    corners = np.array(boxes, dtype=np.float64).reshape(-1, 4)
    usable = (np.abs(corners) <= MAX_COORDINATE_PX).all(axis=1)
    usable &= (corners[:, 2:] >= corners[:, :2]).all(axis=1)
    if not usable.all():
        box = int(np.argmin(usable))
        raise data_error(
            path,
            f"box {box} of image {quoted(image_id)} is {corners[box].tolist()}, must be xmin, "
            f"ymin, xmax, ymax in pixels, at most {MAX_COORDINATE_PX:g} and no maximum "
            "below its minimum",
            _FIX,
        )
    return corners


def read_boxes(path: Path) -> Boxes:
    """Read the box file: image id -> boxes.

    Nothing of NumPy or of any other module is called while it is loaded: stand-ins take the place
    of the three names that an array needs, and every other name is refused.
    Raises: DataError that names what was refused or what is not as the official file has it.
    """
    data = read_bytes(path, MAX_BYTES + 1)
    if len(data) > MAX_BYTES:
        raise data_error(path, f"has more than {MAX_BYTES // 2**20} MB", _FIX)
    _require_plain(path, data)
    try:
        content = _Loader(path, data).load()
    except DataError:
        raise
    except Exception as error:  # a damaged pickle can raise anything
        raise data_error(path, f"is not a complete pickle file ({error})", _FIX) from error
    if not isinstance(content, dict):
        raise _wrong(path, "the content", content, "a dict of image ids")
    return {image_id: _values(path, image_id, boxes) for image_id, boxes in content.items()}


def _values(path: Path, image_id: object, boxes: object) -> list[Float[ndarray, "2 2"]]:
    """The boxes of one entry. Raises: DataError when it is not as the official file has it."""
    if not isinstance(image_id, str):
        raise _wrong(path, "an image id", image_id, "a text")
    if not isinstance(boxes, list) or len(boxes) > MAX_BOXES:
        raise _wrong(path, f"the entry of image {quoted(image_id)}", boxes, "a list of boxes")
    values: list[Float[ndarray, "2 2"]] = []
    for box in boxes:
        if not isinstance(box, _Array) or box.values is None:
            wanted = "an array of 2x2 numbers of 8 bytes (<f8)"
            raise _wrong(path, f"a box of image {quoted(image_id)}", box, wanted)
        values.append(box.values)
    return values


def _wrong(path: Path, what: str, value: object, wanted: str) -> DataError:
    """Names the type only: writing out a hostile value could fill the memory."""
    found = "another array" if isinstance(value, _Array) else f"a {type(value).__name__}"
    return data_error(path, f"{what} is {found}, must be {wanted}", _FIX)


def _require_plain(path: Path, data: bytes) -> None:
    """Raise DataError for an instruction that no dict of arrays needs, before any is obeyed."""
    needless = ""
    for name, argument in _instructions(path, data):
        if name in ("GLOBAL", "INST"):
            _stand_in(path, *argument.split(" ", 1))
        if name not in _OPCODES or (name == "LONG_BINPUT" and argument > len(data)):
            needless = needless or f"{name} {quoted(argument)}"
    if needless:
        raise data_error(
            path, f"holds the pickle instruction {needless}, which no table of boxes needs", _FIX
        )


def _instructions(path: Path, data: bytes) -> Iterator[tuple[str, Any]]:
    """Name and argument of every instruction of the pickle, none obeyed."""
    try:
        for opcode, argument, _ in pickletools.genops(data):
            yield opcode.name, argument
    except Exception as error:  # whatever the parser of an instruction raises on damaged bytes
        raise data_error(path, f"is not a complete pickle file ({error})", _FIX) from error


class _Dtype:
    """Stands for numpy.dtype: remembers its code and byte order."""

    __slots__ = ("code", "order")

    def __init__(self, code: object, *_: object) -> None:
        self.code = code
        self.order: object = "<"

    def __setstate__(self, state: Any) -> None:
        self.order = state[1]


class _Subtype:
    """Stands for numpy.ndarray, which is only named and never called."""

    __slots__ = ()

    def __setstate__(self, state: object) -> None:
        raise pickle.UnpicklingError("numpy.ndarray with a state")


class _Array:
    """Stands for numpy's _reconstruct: an empty array whose state brings shape, dtype and bytes."""

    __slots__ = ("values",)

    def __init__(self, *_: object) -> None:
        self.values: Float[ndarray, "2 2"] | None = None

    def __setstate__(self, state: Any) -> None:
        _, shape, dtype, is_fortran, data = state
        official = isinstance(dtype, _Dtype) and (dtype.code, dtype.order) == ("f8", "<")
        if official and shape == (2, 2) and isinstance(data, bytes) and len(data) == 32:
            order: Any = "F" if is_fortran else "C"
            self.values = np.frombuffer(data, dtype="<f8").reshape((2, 2), order=order)


_STAND_INS: dict[tuple[str, str], type] = {
    ("numpy.core.multiarray", "_reconstruct"): _Array,
    ("numpy._core.multiarray", "_reconstruct"): _Array,  # its name since NumPy 2
    ("numpy", "ndarray"): _Subtype,
    ("numpy", "dtype"): _Dtype,
}


def _stand_in(path: Path, module: str, name: str = "") -> type:
    """What takes the place of a name in the pickle. Raises: DataError for every other name."""
    found = _STAND_INS.get((module, name))
    if found is None:
        raise data_error(
            path,
            f"asks for the Python object {quoted(f'{module}.{name}')}, which no table of boxes "
            "needs; nothing was run",
            _FIX,
        )
    return found


class _Loader(pickle.Unpickler):
    """An unpickler that knows the stand-ins and nothing else."""

    def __init__(self, path: Path, data: bytes) -> None:
        super().__init__(io.BytesIO(data))
        self._path = path

    def find_class(self, module: str, name: str) -> type:
        return _stand_in(self._path, module, name)
