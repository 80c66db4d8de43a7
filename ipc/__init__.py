"""What the daemon and the runner share: the files of a run, the messages in them, and proof of who is alive.

The standard library alone, Python 3.10 or newer: this package runs under the Python of OneTrainer too.
`PROTOCOL.md` in this folder describes the files and messages exactly enough to write another runner from.
"""

__version__ = "0.1.0"

PROTOCOL_VERSION = 1
"""The version of the files and messages in this package; a daemon also reads runs of the version before."""
