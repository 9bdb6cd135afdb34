"""Records: anchors of sealed files, and who was given access to them on which consent.

`model` holds the values and their wire form, `rules` the law, `contract` the transactions. Sealing
and the exchange of ciphertexts happen off chain and elsewhere. Start with `model.Anchor`.
"""
