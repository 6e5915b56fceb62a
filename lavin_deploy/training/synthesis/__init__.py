"""Pictures, scenes and clips that are made, with their truths."""
