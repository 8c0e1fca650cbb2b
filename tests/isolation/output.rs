//! What isolationtester prints, cut into permutations.

/// One permutation: its line, and what was printed until the next one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Permutation {
    /// The steps, in their order.
    pub steps: String,
    /// All lines behind.
    pub text: String,
}

/// The permutations of one spec. What is printed before the first (setup of connections) belongs to none; an end before
/// all have run shows as missing ones.
pub fn permutations(output: &str) -> Vec<Permutation> {
    let mut found = Vec::<Permutation>::new();
    for line in output.lines() {
        if let Some(steps) = line.strip_prefix("starting permutation:") {
            found.push(Permutation {
                steps: steps.trim().to_owned(),
                text: String::new(),
            });
        } else if let Some(last) = found.last_mut() {
            last.text += line.trim_end();
            last.text += "\n";
        }
    }
    for permutation in &mut found {
        permutation.text.truncate(permutation.text.trim_end().len());
    }
    found
}

impl Permutation {
    /// The same without the plans that it prints.
    pub fn without_plans(&self) -> Permutation {
        let mut text = String::new();
        let mut in_plan = false;
        for line in self.text.lines() {
            in_plan |= line == "QUERY PLAN";
            if !in_plan {
                text += line;
                text += "\n";
            }
            in_plan &= !line.ends_with(" rows)");
        }
        Permutation {
            steps: self.steps.clone(),
            text,
        }
    }
}
