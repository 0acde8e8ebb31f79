"""The virtual pool: a manifest of images, masks and poses, read, built and exported."""
