"""What answers are compared by beyond the velocity."""
