"""Makers of training data, one a task; stored tasks of bundles are in ``lavin_deploy.tasks``."""
