"""The delivery protocol, explored exhaustively within small bounds, by the code that runs it. See docs/protocol.md."""
