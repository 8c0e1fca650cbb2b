//! Plans, shared by all sessions and bounded by bytes.

/// Plans by text and everything else they depend on.
#[derive(Debug)]
pub struct PlanCache {
    bytes_max: u64,
}

impl PlanCache {
    pub fn new(bytes_max: u64) -> Self {
        Self { bytes_max }
    }

    pub fn bytes_max(&self) -> u64 {
        self.bytes_max
    }
}
