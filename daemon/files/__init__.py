"""What a run leaves in files, read back: its console, records of its journals, backups and saves. Writes nothing; knows nothing of HTTP."""
