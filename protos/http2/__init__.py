"""gRPC's server side over HTTP/2, for few streams with very many small messages.

grpcio carries a message through a thread of its own and several wake-ups of the event loop: about
70 µs, six times a transaction, which is most of what a small transaction costs. Here a message is
a slice of what the socket gave. `frames` and `connection` do no I/O; `server` has the sockets.
"""
