"""What a state directory holds, for commands that read it: journals, tables, backups, who ran last."""
