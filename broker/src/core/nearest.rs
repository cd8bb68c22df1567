//! What somebody meant who wrote a name that is not known, and how it is said back.

/// The nearest of the valid names; where none is near, all of them.
#[must_use]
pub fn suggest(found: &str, valid: &[&str]) -> String {
    let near = valid.iter().map(|name| (distance(found, name), *name)).min();
    match near {
        Some((distance, name)) if distance <= (name.len().max(found.len()) / 3).max(1) => format!("did you mean `{name}`?"),
        None => String::new(),
        Some(_) => format!("say one of {}", valid.iter().map(|name| format!("`{name}`")).collect::<Vec<_>>().join(", ")),
    }
}

/// Quotes what was found. What is too long for a slip of the pen may be a secret in the wrong place, and stays out.
#[must_use]
pub fn quoted(text: &str) -> String {
    match text.chars().count() {
        0 => "nothing".into(),
        1..=24 => format!("`{text}`"),
        n => format!("a text of {n} characters"),
    }
}

/// Levenshtein's distance.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, x) in a.chars().enumerate() {
        let mut diagonal = i;
        let mut left = i + 1;
        for (cell, y) in row.iter_mut().skip(1).zip(&b) {
            let cost = diagonal + usize::from(x != *y);
            diagonal = *cell;
            left = cost.min(left + 1).min(*cell + 1);
            *cell = left;
        }
        if let Some(first) = row.first_mut() {
            *first = i + 1;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::suggest;

    #[test]
    fn a_slip_is_told_from_another_word() {
        let states = ["queued", "running", "parked"];
        assert_eq!(suggest("runing", &states), "did you mean `running`?");
        assert_eq!(suggest("foo", &states), "say one of `queued`, `running`, `parked`");
        assert_eq!(suggest("foo", &[]), "");
    }
}
