//! From a record's event id to its event.

use std::collections::HashMap;

/// Ids that one session can have at most for the direct table: 4 bytes each.
const DENSE_LIMIT: u64 = 1 << 22;
const NONE: u32 = u32::MAX;

/// Kernel event ids and what they stand for.
///
/// The kernel counts ids up from one counter, so those of one session lie close
/// together and a direct table serves nearly always.
#[derive(Debug, Default)]
pub(crate) struct IdTable {
    first: u64,
    dense: Vec<u32>,
    sparse: HashMap<u64, u32>,
}

impl IdTable {
    pub(crate) fn new(ids: &[(u64, u32)]) -> Self {
        let first = ids.iter().map(|(id, _)| *id).min().unwrap_or(0);
        let last = ids.iter().map(|(id, _)| *id).max().unwrap_or(0);
        let mut table = IdTable {
            first,
            ..IdTable::default()
        };
        if ids.is_empty() || last - first >= DENSE_LIMIT {
            table.sparse = ids.iter().copied().collect();
            return table;
        }
        table.dense = vec![NONE; (last - first + 1) as usize];
        for (id, slot) in ids {
            table.dense[(id - first) as usize] = *slot;
        }
        table
    }

    #[inline]
    pub(crate) fn get(&self, id: u64) -> Option<u32> {
        if self.sparse.is_empty() {
            let at = usize::try_from(id.wrapping_sub(self.first)).ok()?;
            return self.dense.get(at).copied().filter(|slot| *slot != NONE);
        }
        self.sparse.get(&id).copied()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn dense_and_sparse() {
        for gap in [1u64, 1 << 40] {
            let table = IdTable::new(&[(100, 0), (102, 1), (100 + 2 * gap + 7, 2)]);
            assert_eq!(table.get(100), Some(0));
            assert_eq!(table.get(102), Some(1));
            assert_eq!(table.get(107 + 2 * gap), Some(2));
            for absent in [0, 99, 101, 103, u64::MAX] {
                assert_eq!(table.get(absent), None);
            }
        }
        assert_eq!(IdTable::new(&[]).get(0), None);
    }
}
