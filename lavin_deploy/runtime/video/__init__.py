"""Videos in and out: frames, times, colours, sound."""
