"""What an operator may set: the model with its defaults, the sources it is read from, the pages made of it, and what a reload changes."""
