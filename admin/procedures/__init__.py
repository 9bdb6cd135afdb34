"""Many-step acts as plain functions: the command line calls one and renders what it returns."""
