"""``bot check venue``: does a venue answer as the local exchange does, and as this bot therefore expects?

One script of acts runs twice: at the venue, with the smallest sizes, and at a local exchange that is started
for the comparison. Codes and shapes of the answers are compared, never values. The orders of the script
come from nobody's signal and pass no risk check, so it runs only at venues without real money, only while
the account is flat in the symbol, and it leaves the account flat whatever happens.

Read ``shapes`` (what is compared), ``script`` (the acts), ``streams`` (the sockets), ``run`` (both runs).
"""
