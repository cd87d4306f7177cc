"""From single bars to the events of a feed: order, close barrier, late and conflicting bars; any venue.

Owns the order in which bars and funding rates become events, and what is missing and when it is fetched
again. May import ``domain`` only; knows no venue, socket or clock (times come in as arguments).
Read ``sequencer.py`` first: it puts one ``sequence`` a symbol and the ``barrier`` of a close together;
``backlog.py`` says what to fetch next and when a missing bar counts as not existing.
"""
