"""Detection: data, teaching by peers, training, export."""
