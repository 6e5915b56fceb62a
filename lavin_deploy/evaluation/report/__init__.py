"""What an evaluation found, as JSON, text and one HTML page."""
