"""What deploys Heliograph, held against schemas, against the code, and as processes: no Docker, no cluster."""
