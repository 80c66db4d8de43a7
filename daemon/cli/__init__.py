"""The command line: serve, token, status, demo. Others script against it."""
