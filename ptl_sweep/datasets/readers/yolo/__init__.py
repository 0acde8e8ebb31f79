"""YOLO folders: data.yaml, where images and labels lie, and the records they become."""
