//! A CSV body behind a header that is beyond doubt, and alone.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let header = b"<14>1 2026-01-27T14:12:23.9558Z groot-1 qumulo - - - ";
    qatime_fuzz::decode(&[header, body].concat());
    qatime_fuzz::decode(body);
});
