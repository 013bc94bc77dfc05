"""Everything that is called: the command line, the gateway, and the User and Template services."""
