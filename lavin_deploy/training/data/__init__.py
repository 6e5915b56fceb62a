"""Prepared pictures: which packages, how they are read, sorted and kept."""
