"""The API Gateway: takes requests, owns their status, and streams it."""
