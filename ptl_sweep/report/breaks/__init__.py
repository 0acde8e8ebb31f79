"""Break conditions: what sentences rest on, where it fails, and the marks that these carry."""
