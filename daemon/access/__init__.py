"""Whom the daemon knows: tokens on disk, the audit log, TLS. Knows nothing of requests, which are `daemon/api`'s."""
