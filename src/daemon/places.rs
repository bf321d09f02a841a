//! How many connections one user may have.

use nix::unistd::Uid;
use std::cell::RefCell;
use std::collections::BTreeMap;
use std::rc::Rc;

/// Anybody may connect; nobody may keep the others from it.
const MOST_CONNECTIONS_OF_A_USER: usize = 256;

/// The connections there are, by user.
#[derive(Clone, Debug, Default)]
pub(super) struct Places(Rc<RefCell<BTreeMap<u32, usize>>>);

impl Places {
    /// A place for one more connection of this user, if there is one left.
    pub(super) fn take(&self, user: Uid) -> Option<Place> {
        let mut taken = self.0.borrow_mut();
        let count = taken.entry(user.as_raw()).or_default();
        if *count >= MOST_CONNECTIONS_OF_A_USER {
            return None;
        }
        *count += 1;
        Some(Place {
            places: self.clone(),
            user,
        })
    }
}

/// A connection's place, given back when dropped.
#[derive(Debug)]
pub(super) struct Place {
    places: Places,
    user: Uid,
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.0.borrow_mut();
        if let Some(count) = taken.get_mut(&self.user.as_raw()) {
            *count -= 1;
            if *count == 0 {
                taken.remove(&self.user.as_raw());
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_users_many_connections_leave_room_for_others() {
        let places = Places::default();
        let greedy = Uid::from_raw(1000);
        let held: Vec<_> = std::iter::from_fn(|| places.take(greedy)).collect();
        assert_eq!(held.len(), MOST_CONNECTIONS_OF_A_USER);
        assert!(places.take(Uid::from_raw(1001)).is_some());
        drop(held);
        assert!(places.take(greedy).is_some());
        assert!(places.0.borrow().is_empty(), "all given back");
    }
}
