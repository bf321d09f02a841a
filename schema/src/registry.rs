//! Gives out class ids.

use crate::{ClassId, Error, ErrorKind, EventRecordClass, Result};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The classes of one session, shared by its sources.
#[derive(Debug, Default)]
pub struct ClassRegistry {
    classes: Mutex<Vec<Arc<EventRecordClass>>>,
}

impl ClassRegistry {
    /// An empty registry.
    pub fn new() -> Self {
        Self::default()
    }

    /// Registers a class and gives it its id: the smallest one not yet given.
    ///
    /// # Errors
    /// `ErrorKind::Unsupported` when all 65,535 ids are given out.
    pub fn register(&self, mut class: EventRecordClass) -> Result<Arc<EventRecordClass>> {
        let mut classes = self.lock();
        let id = u16::try_from(classes.len())
            .ok()
            .filter(|id| *id < u16::MAX)
            .ok_or_else(|| {
                Error::new(
                    ErrorKind::Unsupported,
                    format!("more than {} event classes in one session", u16::MAX),
                )
            })?;
        class.id = ClassId(id);
        let class = Arc::new(class);
        classes.push(Arc::clone(&class));
        Ok(class)
    }

    /// The class with that id.
    pub fn get(&self, id: ClassId) -> Option<Arc<EventRecordClass>> {
        self.lock().get(usize::from(id.0)).cloned()
    }

    /// All classes, by id.
    pub fn all(&self) -> Vec<Arc<EventRecordClass>> {
        self.lock().clone()
    }

    fn lock(&self) -> MutexGuard<'_, Vec<Arc<EventRecordClass>>> {
        // Every mutation is a single push: a panic elsewhere cannot leave it half done.
        self.classes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
