"""What a task is: example pairs, how their targets are rendered, and how a bundle stores it."""
