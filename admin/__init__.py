"""What people touch: the `medfabric` command.

`cli` has one module a noun and only parses and prints; `procedures` are many-step acts as plain
functions; `fhir` and `exchange` handle records off the chain; `demo` tells the whole story.
"""
