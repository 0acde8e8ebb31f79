"""Pascal VOC: one XML file an image."""
