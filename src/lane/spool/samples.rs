//! Events for tests of the spool.

use std::sync::Arc;

use crate::event::{Batch, Column, Fields, Selection};

/// So many events with a path each: `/0`, `/1`.
pub(crate) fn events(count: usize) -> Selection {
    numbered(0..count)
}

/// An event with the path `/<number>` for each number.
pub(crate) fn numbered(numbers: impl IntoIterator<Item = usize>) -> Selection {
    let mut batch = Batch::new(Vec::new());
    for number in numbers {
        let mut fields = Fields::default();
        fields.set_text(Column::Path, format!("/{number}"));
        batch.push_fields(&fields);
    }
    Selection::all(Arc::new(batch))
}

/// The numbers of such events.
pub(crate) fn numbers(events: &Selection) -> Vec<usize> {
    let number = |path: &[u8]| std::str::from_utf8(&path[1..]).unwrap().parse().unwrap();
    events.iter().map(|event| number(event.path())).collect()
}
