"""Start, adopt, watch and stop runner processes; the queue. Knows nothing of HTTP."""
