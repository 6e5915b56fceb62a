"""The bundle: its manifest, opening and reading it, writing it, changing it."""

from lavin_deploy.bundle.edit import add_task, pack
from lavin_deploy.bundle.reader import Bundle, open_bundle
from lavin_deploy.bundle.writer import BundleWriter, hash_file

__all__ = ["Bundle", "BundleWriter", "add_task", "hash_file", "open_bundle", "pack"]
