"""What is traced: which graphs there are, their modules, dialects, weights."""
