"""Engines of TensorRT and TensorRT-RTX: built from a bundle, kept with what makes them invalid."""
