"""Re-identification: people crops to unit vectors."""
