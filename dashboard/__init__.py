"""The operations page: `python -m dashboard` reads Kafka and Redis, and serves one page that loads nothing else."""
