"""What commands print for people: a result, a status, rows of a journal, one line that is alive."""
