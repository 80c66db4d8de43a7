"""The daemon: HTTP, the queue and the decisions. Holds no training state that is not on disk; never imports torch."""
