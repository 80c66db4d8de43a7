"""What a trainer's config may be, as data: asked of the trainer's own code, under its Python. Trains nothing."""
