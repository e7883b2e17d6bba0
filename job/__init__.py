"""saltworks: how much synthetic data is worth mixing in, did it help, how sure are we, what did it cost?

Start reading at ``job/river.py``: it walks the river once, top to bottom.
"""

__version__ = "0.1.0"
