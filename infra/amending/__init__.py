"""Corrections that are events of their own: what they say (`drafts`), the event that is amended (`finding`), publishing (`publishing`)."""
