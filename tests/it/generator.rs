//! Every line of the load generator is decoded to what it was meant to say.

use qatime::decoders::{Config as DecoderConfig, Decoder, Outcome, Times};
use qatime::event::{Batch, Frame, FrameEnd, OperationSet};
use qatime::generator::{Config, Format, Framing, Generator, Meaning, Profile};

fn check(format: Format, profile: Profile) {
    let config = Config { format, framing: Framing::Datagram, ..Config::new(profile, 9) };
    let mut generator = Generator::new(Config { files: 20_000, ..config });
    let decoder = Decoder::new(&DecoderConfig::default());
    let mut bytes = Vec::new();
    let mut meant = Vec::new();
    for _ in 0..20_000 {
        let start = bytes.len();
        let event = generator.write_next(&mut bytes);
        let frame = Frame {
            offset: u32::try_from(start).unwrap(),
            length: u32::try_from(bytes.len() - start).unwrap(),
            end: FrameEnd::Datagram,
        };
        meant.push((frame, generator.meaning(&event)));
    }
    let mut batch = Batch::new(bytes);
    for (frame, _) in &meant {
        let outcome = decoder.decode(&mut batch, *frame, Times::default(), OperationSet::ALL);
        assert_eq!(outcome, Outcome::Event, "{frame:?}");
    }
    for (event, (_, meaning)) in batch.events().zip(&meant) {
        let text = |bytes: &[u8]| String::from_utf8(bytes.to_vec()).unwrap();
        let decoded = Meaning {
            time: event.time(),
            node: text(event.node()),
            client: text(event.client()),
            user: text(event.user()),
            protocol: meaning.protocol,
            operation: event.operation(),
            status: meaning.status,
            file_id: text(event.file_id()),
            path: event.path().to_vec(),
            target: event.target().to_vec(),
        };
        assert_eq!(decoded, *meaning);
        assert_eq!(event.protocol_name(), meaning.protocol.as_bytes());
        assert_eq!(event.status(), meaning.status.as_bytes());
        assert_eq!(event.cluster(), b"tank");
        assert!(event.flags().is_empty());
    }
}

#[test]
fn csv_lines_say_what_they_mean() {
    for (_, profile) in Profile::ALL {
        check(Format::Csv, profile);
    }
}

#[test]
fn json_lines_say_what_they_mean() {
    for (_, profile) in Profile::ALL {
        check(Format::Json, profile);
    }
}
