"""Whole answers on a device: a program of operations, and what runs it."""
