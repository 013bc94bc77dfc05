"""Why? From what is known of a notification to sentences: each decision that was made for it, and each wait.

Pure text-making. What is stored of a decision is in `domain.reasons`; whoever stores it and whoever shows it ask here.
"""
