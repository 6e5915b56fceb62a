"""The protocols of the published paper on test sets that a user has."""
