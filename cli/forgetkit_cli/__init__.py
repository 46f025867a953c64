"""The command line of forgetkit: flags, progress, exit codes; every command is a thin call."""
