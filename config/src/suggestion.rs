//! What an unknown key was probably meant to be.
//!
//! It decides nothing; it only words the fault. [`crate::fault::Collector`] calls it once every known key is known.

use crate::fault::joined;
use std::collections::BTreeSet;

/// The message for a key that does not exist below `parent` (a key with `[]` for indexes; empty for the top).
pub(crate) fn for_unknown_key(known: &BTreeSet<String>, parent: &str, name: &str) -> String {
    let siblings: Vec<&str> = known.iter().filter_map(|key| child_of(key, parent)).collect();
    let typed = name.to_lowercase();
    let nearest = siblings
        .iter()
        .map(|sibling| (distance(&typed, sibling), *sibling))
        .filter(|(distance, sibling)| *distance <= (sibling.len() / 3).max(1))
        .min_by_key(|(distance, _)| *distance);
    if let Some((_, sibling)) = nearest {
        return format!("unknown key; did you mean `{sibling}`?");
    }
    let elsewhere: Vec<&str> = known
        .iter()
        .map(String::as_str)
        .filter(|key| key.rsplit('.').next() == Some(name))
        .collect();
    if !elsewhere.is_empty() {
        return format!("unknown key here; did you mean `{}`?", elsewhere.join("` or `"));
    }
    if siblings.is_empty() {
        return "unknown key".to_owned();
    }
    let place = if parent.is_empty() { "at the top" } else { "here" };
    format!("unknown key; {place} are: {}", siblings.join(", "))
}

/// The last part of `key` when it lies directly below `parent`.
fn child_of<'a>(key: &'a str, parent: &str) -> Option<&'a str> {
    let name = key.rsplit('.').next()?;
    (joined(parent, name) == key && !name.ends_with("[]")).then_some(name)
}

/// Edits between two words: insert, delete, replace, or swap two neighbours (optimal string alignment).
fn distance(left: &str, right: &str) -> usize {
    const LENGTH_MAX: usize = 64;
    let left: Vec<char> = left.chars().take(LENGTH_MAX).collect();
    let right: Vec<char> = right.chars().take(LENGTH_MAX).collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (i, l) in left.iter().enumerate() {
        let mut row = vec![i + 1];
        for (j, r) in right.iter().enumerate() {
            let mut cost = (above[j] + usize::from(l != r)).min(above[j + 1] + 1).min(row[j] + 1);
            if i > 0 && j > 0 && *l == right[j - 1] && left[i - 1] == *r {
                cost = cost.min(before[j - 1] + 1);
            }
            row.push(cost);
        }
        before = std::mem::replace(&mut above, row);
    }
    above[right.len()]
}
