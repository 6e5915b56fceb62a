"""Families of episodes in which only the pair can say what is asked."""
