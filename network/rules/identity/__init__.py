"""Who signs: identities, their certificates and chains, and membership of an organisation."""
