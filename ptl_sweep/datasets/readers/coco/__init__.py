"""COCO files: their layouts, their entries, and the records they become."""
