"""The loop of both trainers: processes, states, settings, meters."""
