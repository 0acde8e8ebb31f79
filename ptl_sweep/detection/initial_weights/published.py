"""Files of initial weights that torchvision publishes: name, address, start of the SHA-256."""

from typing import NamedTuple


class PublishedWeights(NamedTuple):
    """A file of torchvision; by its convention the name ends in the start of the SHA-256."""

    name: str  # as detector.weights calls it
    url: str
    sha256_prefix: str

    @property
    def file_name(self) -> str:
        """Last part of the address."""
        return self.url.rsplit("/", 1)[1]


IMAGENET_R50 = PublishedWeights(  # ResNet50_Weights.IMAGENET1K_V1
    "imagenet", "https://download.pytorch.org/models/resnet50-0676ba61.pth", "0676ba61"
)
COCO_RETINANET = PublishedWeights(  # RetinaNet_ResNet50_FPN_Weights.COCO_V1
    "coco",
    "https://download.pytorch.org/models/retinanet_resnet50_fpn_coco-eeacb38b.pth",
    "eeacb38b",
)
COCO_FCOS = PublishedWeights(  # FCOS_ResNet50_FPN_Weights.COCO_V1
    "coco", "https://download.pytorch.org/models/fcos_resnet50_fpn_coco-99b0c9b7.pth", "99b0c9b7"
)
PUBLISHED = (IMAGENET_R50, COCO_RETINANET, COCO_FCOS)
PUBLISHED_NAMES = frozenset(file.name for file in PUBLISHED)
