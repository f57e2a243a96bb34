//! What rows may hold that no version of ours writes.
