"""Where trials run: processes of this machine (``workers.py``), or machines of a cluster (``cluster.py``).

``portable.py`` and ``parcel.py`` are what travels there; ``serving.py`` is the other end.
"""
