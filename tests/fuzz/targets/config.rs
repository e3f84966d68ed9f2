//! A configuration: any text is refused with places in it, or tried out.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|text: &str| {
    let environment = |name: &str| (name == "SET").then(|| "value".to_owned());
    match qatime::config::load(text, "qatime.toml", &environment) {
        Ok(configuration) => {
            let _failed = qatime::explain::run_tests(&configuration, &[]);
        }
        Err(problems) => {
            let shown = problems.to_string();
            assert!(shown.starts_with("qatime.toml:"), "{shown}");
        }
    }
});
