"""What an export found, as JSON and one HTML page."""
