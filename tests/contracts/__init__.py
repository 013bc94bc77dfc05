"""One suite for each protocol of `domain.ports`, passed by all of its adapters."""
