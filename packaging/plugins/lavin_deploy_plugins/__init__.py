"""Holds ``liblavin_plugins.so``; ``lavin_deploy.engines.plugins`` finds it here."""
