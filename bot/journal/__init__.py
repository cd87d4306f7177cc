"""The journal's form: what is written, and how a line is checked. Pure.

``entries`` lists everything that may stand in a journal, ``lines`` turns an entry into a checked line and a
segment's bytes into entries. Files belong to ``adapters.state.journal``. May import ``domain`` alone.
"""
