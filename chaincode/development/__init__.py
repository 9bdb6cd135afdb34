"""The loop of someone who writes a contract: save the file, the next transaction runs the new code.

`watch` sees that files have changed, `child` is the process that holds one version of the code,
`reloader` lets a new version take over from the old one without a gap, `news` is what there is to
tell meanwhile.

A version takes over only after it was loaded: code that cannot be imported leaves the old version
at work. The new process listens on the old one's address before the old one stops, and the old
one's running transactions end first, so that peers, packages and clients notice nothing.
"""
