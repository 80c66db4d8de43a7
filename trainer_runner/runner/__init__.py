"""The runner: holds one trainer, numbers what it says, and writes down how it ended. Does nothing else."""
