"""What this machine has: GPUs, CPU, memory, the trainer's Python and torch, the models it can train. Never imports torch."""
