"""What a model costs on a device, on paper."""
