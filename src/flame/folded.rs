//! Folded stacks.

use super::tree::{NodeId, StackTree};
use std::io::{Result, Write};

/// Writes a line for each different stack, sorted by its frames.
pub(super) fn write(tree: &StackTree, out: &mut dyn Write) -> Result<()> {
    let mut line = String::new();
    // Stacks are as deep as an administrator allows: no recursion.
    let mut open: Vec<(usize, std::vec::IntoIter<NodeId>)> =
        vec![(0, tree.children(StackTree::ROOT).into_iter())];
    while let Some((len, children)) = open.last_mut() {
        line.truncate(*len);
        let Some(node) = children.next() else {
            open.pop();
            continue;
        };
        if !line.is_empty() {
            line.push(';');
        }
        line.push_str(tree.name(node));
        let own = tree.own(node);
        if own > 0 {
            writeln!(out, "{line} {own}")?;
        }
        open.push((line.len(), tree.children(node).into_iter()));
    }
    Ok(())
}
