"""HTTP: routes and their binding, errors to statuses, access, the handlers. Decides nothing about training."""
