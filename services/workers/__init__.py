"""What happens behind the API: arq jobs that keep the read models up with the log."""
