"""EDGE. A finished run becomes an immutable version; versions are verified, pointed at, exported and cleaned up after.

``versions/N.json`` is the publish itself: create-only, and everything that it names is named with its sha256. The card
and the Croissant description are made from it and can be made again; ``latest.json`` is advisory and can be rebuilt.
"""
