"""`onetrainerd install` and `uninstall`: the units, written for this machine or for one user. Nothing here runs in the daemon."""
