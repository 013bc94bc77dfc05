"""The sandbox's inbox: the pages on which people read what was sent."""
