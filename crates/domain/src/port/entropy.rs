//! Randomness from the operating system.

pub trait Entropy: Send + Sync + 'static {
    /// # Panics
    /// When the operating system has none to give: nothing safe can be done then.
    fn fill(&self, bytes: &mut [u8]);

    fn u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}
