"""What ``bundle.py`` and ``manifest.py`` stand on: safe names, strict JSON, storage, writing."""
