"""What runs take in memory: estimated from their sizes, and compared with what machines have."""
