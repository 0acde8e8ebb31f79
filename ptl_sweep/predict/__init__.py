"""A published detector put to use: on any folder of pictures, and as a plain torch file."""
