"""How much of an answer is read from the pairs (``lavin-eval --suite pairs``)."""
