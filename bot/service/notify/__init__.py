"""Messages to people: alerts of the daemon, sent by a process of its own through apprise.

::

    daemon   Messenger (ports.Alarm)  ── alerts as JSON lines over a pipe ──▶  sender process
    sender   a Courier for each address: Outbox (what, when) → adapters/notify (apprise)
             ◀── what came of it, as JSON lines ──  for the daemon's log and status

The sender is a process because a message must never delay an order: importing, TLS and text work of a thread
would share the interpreter lock with the event loop. It also outlives a daemon that is killed, and says so.
``outbox.py`` (rate, retries, what is dropped) and ``wording.py`` are pure; ``picture.py`` draws the equity of
a day. Read ``messenger.py`` first.
"""
