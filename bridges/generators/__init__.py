"""What makes images of identities: the protocol, and one folder per kind."""
