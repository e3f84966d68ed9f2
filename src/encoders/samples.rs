//! Events for the tests of encoders and sinks.

use std::sync::Arc;

use crate::event::{Batch, Civil, Flags, IoSizes, Record, Selection, Timestamp};

/// The fields of an event.
#[derive(Debug, Clone, Default)]
pub(crate) struct Sample {
    pub(crate) time: Timestamp,
    pub(crate) received: Timestamp,
    pub(crate) raw: Vec<u8>,
    pub(crate) node: Vec<u8>,
    pub(crate) cluster_length: u8,
    pub(crate) client: Vec<u8>,
    pub(crate) user: Vec<u8>,
    pub(crate) protocol: Vec<u8>,
    pub(crate) operation: Vec<u8>,
    pub(crate) status: Vec<u8>,
    pub(crate) file_id: Vec<u8>,
    pub(crate) path: Vec<u8>,
    pub(crate) target: Vec<u8>,
    pub(crate) flags: Flags,
    pub(crate) sizes: IoSizes,
}

impl Sample {
    /// A batch with this one event.
    pub(crate) fn batch(&self) -> Batch {
        let mut batch = Batch::new(Vec::new());
        self.push_to(&mut batch);
        batch
    }

    fn push_to(&self, batch: &mut Batch) {
        let mut record = Record::default();
        record.time = self.time;
        record.received = self.received;
        record.raw = batch.push_side(&self.raw);
        record.node = batch.push_side(&self.node);
        record.client = batch.push_side(&self.client);
        record.user = batch.push_side(&self.user);
        record.protocol_name = batch.push_side(&self.protocol);
        record.operation_name = batch.push_side(&self.operation);
        record.status = batch.push_side(&self.status);
        record.file_id = batch.push_side(&self.file_id);
        record.path = batch.push_side(&self.path);
        record.target = batch.push_side(&self.target);
        record.cluster_length = self.cluster_length;
        record.ok = self.status == b"ok";
        record.flags = self.flags;
        if self.sizes != IoSizes::default() {
            batch.push_io(&mut record, self.sizes);
        }
        batch.push(record);
    }
}

/// A read of a file with an awkward name.
pub(crate) fn plain() -> Sample {
    let time = Civil {
        year: 2021,
        month: 12,
        day: 8,
        hour: 21,
        minute: 14,
        second: 32,
        nanosecond: 63_248_000,
    };
    let received = Civil { second: 33, nanosecond: 0, ..time };
    Sample {
        time: Timestamp::from_civil(time).unwrap(),
        received: Timestamp::from_civil(received).unwrap(),
        raw: b"<14>1 raw".to_vec(),
        node: b"tank-3".to_vec(),
        cluster_length: 4,
        client: b"10.0.0.1".to_vec(),
        user: b"AD\\alice".to_vec(),
        protocol: b"smb2".to_vec(),
        operation: b"fs_read_data".to_vec(),
        status: b"ok".to_vec(),
        file_id: b"140624751830626345080086".to_vec(),
        path: b"/data/a \"b\", c.txt".to_vec(),
        ..Sample::default()
    }
}

/// A selection of events with these paths, which are their raw lines too.
pub(crate) fn selection<P: AsRef<[u8]>>(paths: impl IntoIterator<Item = P>) -> Selection {
    let mut batch = Batch::new(Vec::new());
    for path in paths {
        let bytes = path.as_ref().to_vec();
        Sample { raw: bytes.clone(), path: bytes, ..plain() }.push_to(&mut batch);
    }
    Selection::all(Arc::new(batch))
}
