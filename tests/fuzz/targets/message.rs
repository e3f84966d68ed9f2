//! A whole message of any form.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|message: &[u8]| {
    qatime_fuzz::decode(message);
});
