"""The page's server: a process of its own that reads the journal and asks the daemon over its socket.

It owns no state that matters: the truth is in the journal, and what happens now is in the daemon. So no page
can delay an order, and the page still tells the truth when the daemon hangs or is dead. Read ``server.py``
first (the routes), then ``access.py`` (who may ask), ``watch.py`` (what happens now) and ``history.py`` (what
happened). May import ``service`` and everything below it.
"""
