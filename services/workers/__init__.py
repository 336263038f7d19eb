"""Workers: arq jobs that keep the read models up to date with the log."""
