"""What checks an export: parity with the model, gates, end-to-end answers."""
