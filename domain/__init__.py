"""The language of Heliograph: what it sends, how a delivery goes, and how its status is tracked.

Read `send`, `deliver` and `track` first: they are the three verbs. Nothing here knows a framework, a database
or a broker; those stand behind the protocols of `ports`.
"""
