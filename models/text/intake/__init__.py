"""Makes one text of what people have: files, folders, archives, documents.

What comes in is hostile until proven otherwise: all sizes and numbers are bounded, bytes are
counted as they are inflated, and nothing is written by a member's name. Knows no upload.
"""
