"""VisDrone2019-DET: pedestrians and people are persons, category 0 is a region to ignore."""

from ptl_sweep.config.checks import one_of
from ptl_sweep.config.schema import DatasetConfig
from ptl_sweep.datasets.images import image_size
from ptl_sweep.datasets.readers.pairs import Pairs, annotation_files, image_files, labelled
from ptl_sweep.datasets.readers.validator import Validator
from ptl_sweep.datasets.readers.visdrone.rows import (
    COLUMNS,
    SUFFIXES,
    category_meanings,
    row_labels,
    split_folder,
)
from ptl_sweep.datasets.records import ImageSet
from ptl_sweep.datasets.subsets import spread
from ptl_sweep.datasets.validation import refuse_scene_fractions


def read_visdrone(config: DatasetConfig, split: str) -> ImageSet:
    """Read the images of one split that have an annotation file; those without are counted.

    `root` holds VisDrone2019-DET-{train,val,test-dev}, or is one of them. `categories` changes
    what a category means; the ones it does not name keep their meaning in CATEGORIES.
    Raises: DataError for files that cannot be used, ConfigError for an unknown category.
    """
    refuse_scene_fractions(config, "VisDrone has splits of its own: set it to null")
    one_of(f"{config.name}.split", split, tuple(SUFFIXES))
    meanings = category_meanings(config)
    folder = split_folder(config, split, "DET", "images")
    validator = Validator(config, split)
    pairs = Pairs(image_files(folder / "images"), annotation_files(folder / "annotations", ".txt"))
    for name in spread(labelled(pairs, validator), config.num_images):
        size = image_size(pairs.images[name])
        table = validator.read_table(pairs.files[name], COLUMNS, ",")
        labels = row_labels(table, size, meanings, validator)
        validator.add(name, name.split("_")[0], pairs.images[name], size, labels)
    return validator.image_set()
