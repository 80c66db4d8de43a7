"""The trainer's side of the pipes: what every backend gets, whichever program it adapts. Knows no torch and no OneTrainer."""
