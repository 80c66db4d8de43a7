"""What the trainer tells of its configs: asked of its own code in processes of their own, kept, and made anew when it changes."""
