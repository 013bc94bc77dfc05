"""Liquid and HTML: how one text is compiled, analysed, rendered and turned into plain text.

Knows nothing of templates, locales or channels; `domain.template` does.
"""
