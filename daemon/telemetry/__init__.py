"""What the daemon tells of itself to Prometheus: the metrics as a table, and who fills it. Knows nothing of HTTP, and starts nothing."""
