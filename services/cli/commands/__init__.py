"""The subcommands of `shiplog`, one file each."""
