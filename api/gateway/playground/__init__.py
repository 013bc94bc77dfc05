"""GraphiQL at `/graphql`, for people with a browser. Importing this package imports nothing else."""
