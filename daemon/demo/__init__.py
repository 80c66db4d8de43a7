"""What a newcomer trains first: pictures for the built-in trainer. Knows no run and no trainer."""
