"""The commands of `idiolect`, one file per group. Importing one imports no torch and reads nothing."""
