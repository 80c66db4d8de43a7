"""What the daemon says to systemd and learns from it, without D-Bus: readiness, watchdog, the unit of a run, the machine's shutdown."""
