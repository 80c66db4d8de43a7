"""What a run is: its states, the fold of its history, and how it looks from outside. Pure: no I/O, no clock."""
