"""Which sample files are whole, what their names tell, and the watch on their folders. Knows nothing of runs or HTTP."""
