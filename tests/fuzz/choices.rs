//! Where chance comes from: a seeded generator whose choices are written down, so that a query can be made again with
//! fewer or smaller ones.

/// SplitMix64.
pub struct Random(u64);

impl Random {
    pub fn new(seed: u64) -> Random {
        Random(seed)
    }

    pub fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        z ^ (z >> 31)
    }

    pub fn below(&mut self, count: usize) -> usize {
        (self.next() % count.max(1) as u64) as usize
    }
}

/// The choices of one query. The first option is always the simplest one, and the one taken when the record is at its end.
pub struct Choices {
    record: Vec<u32>,
    at: usize,
    random: Option<Random>,
}

impl Choices {
    pub fn random(seed: u64) -> Choices {
        Choices {
            record: Vec::new(),
            at: 0,
            random: Some(Random::new(seed)),
        }
    }

    pub fn replay(record: Vec<u32>) -> Choices {
        Choices {
            record,
            at: 0,
            random: None,
        }
    }

    /// A number below `count`.
    pub fn pick(&mut self, count: usize) -> usize {
        let count = count.max(1);
        let at = self.at;
        self.at += 1;
        if let Some(random) = &mut self.random {
            let choice = random.below(count);
            self.record.push(choice as u32);
            return choice;
        }
        self.record
            .get(at)
            .map_or(0, |choice| (*choice as usize).min(count - 1))
    }

    pub fn record(&self) -> &[u32] {
        &self.record[..self.at.min(self.record.len())]
    }
}

/// Makes a record smaller as long as `still` holds, with at most `tries_max` calls of it.
pub fn shrink(
    mut record: Vec<u32>,
    tries_max: usize,
    mut still: impl FnMut(&[u32]) -> bool,
) -> Vec<u32> {
    let mut tries = 0;
    loop {
        let before = record.clone();
        let mut size = record.len().next_power_of_two() / 2;
        while size > 0 {
            let mut at = 0;
            while at < record.len() && tries < tries_max {
                let end = (at + size).min(record.len());
                let without = [&record[..at], &record[end..]].concat();
                let mut zeroed = record.clone();
                zeroed[at..end].fill(0);
                tries += 1;
                if still(&without) {
                    record = without;
                    continue;
                }
                if zeroed != record {
                    tries += 1;
                    if still(&zeroed) {
                        record = zeroed;
                    }
                }
                at = end;
            }
            size /= 2;
        }
        if record == before || tries >= tries_max {
            return record;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_chosen_can_be_chosen_again() {
        let mut first = Choices::random(7);
        let one = (0..20).map(|_| first.pick(10)).collect::<Vec<_>>();
        let mut second = Choices::replay(first.record().to_vec());
        let two = (0..20).map(|_| second.pick(10)).collect::<Vec<_>>();
        assert_eq!(one, two);
        assert_eq!(second.pick(10), 0);
    }

    #[test]
    fn only_what_matters_is_left() {
        let record = (0..200).collect::<Vec<u32>>();
        let small = shrink(record, 10_000, |record| {
            record.contains(&17) && record.contains(&170)
        });
        assert_eq!(small, [17, 170]);
    }
}
