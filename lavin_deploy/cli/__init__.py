"""The commands, one thin click file each."""
