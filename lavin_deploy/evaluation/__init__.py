"""Measure a model: suites of tasks, metrics, baselines, controls, reports."""
