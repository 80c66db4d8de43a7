"""Presets, the current config, and whether a config is valid. Knows nothing of HTTP or of runs."""
