"""From the mutation to the subscription, through real sockets and real processes."""
