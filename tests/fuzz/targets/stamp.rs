//! A time stamp, in each header that has one.
#![no_main]

use libfuzzer_sys::fuzz_target;
use qatime::event::EventRef;

const BODY: &[u8] = b"10.220.151.129,\"admin\",smb2,fs_read_data,ok,7,\"/data/file.txt\",\"\"";

fuzz_target!(|stamp: &[u8]| {
    let headers: [(&[u8], &[u8]); 5] = [
        (b"<14>1 ", b" groot-1 qumulo - - - "),
        (b"<14>", b" groot-1 qumulo: "),
        (b"", b" groot-1 qumulo "),
        (b"", b",groot-1,qumulo  "),
        (b"", b",groot-1,"),
    ];
    for (before, behind) in headers {
        let message = [before, stamp, behind, BODY].concat();
        qatime_fuzz::decode_and(&message, &|event| is_stable(event));
    }
});

/// Asserts that the time an event was given is written and read again as the same.
fn is_stable(event: EventRef<'_>) {
    let time = event.time();
    let message = format!("<14>1 {time} groot-1 qumulo - - - ").into_bytes();
    let again = [message.as_slice(), BODY].concat();
    qatime_fuzz::decode_and(&again, &|event| assert_eq!(event.time(), time));
}
