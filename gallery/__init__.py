"""Galleries of identities in Redis: the store is the truth, the index its exact copy in memory. See docs/gallery.md."""
