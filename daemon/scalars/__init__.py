"""The scalars of a run, by tag and step: a store derived from its journals, and what is asked of it. Knows nothing of HTTP."""
