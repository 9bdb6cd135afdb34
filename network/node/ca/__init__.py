"""A certificate authority that speaks fabric-ca's REST API over TLS.

`store` keeps identities and certificates, `authority` issues and revokes, `api` is the REST face,
`service` starts it all from a `fabric-ca-server-config.yaml`. What is allowed is decided in
`network.rules.identity.enrollment`; who calls is read by `network.rules.identity.enrollment_token`.
"""
