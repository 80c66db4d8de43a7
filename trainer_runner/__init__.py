"""What runs outside the daemon: the runner, which supervises one trainer, and the trainer, which trains.

Packed with `ipc` into one .pyz by the daemon. The standard library alone, Python 3.10 or newer; only a backend imports more.
"""
