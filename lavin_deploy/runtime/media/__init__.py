"""Inputs and outputs of a run: pictures, folders, tensors, views."""
