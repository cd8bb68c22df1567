use pullyard_broker::log::*;
use pullyard_schemas::job::*;
use pullyard_schemas::*;
fn main() {
    let (mut log, _) = FileLog::open(std::env::args().nth(1).unwrap() + "/log", Options::default()).unwrap();
    let spec: Box<Spec> =
        serde_json::from_str(r#"{"targets":["m"],"max_attempts":3,"max_attempts_per_target":1,"timeout_ms":1,"size":2}"#).unwrap();
    for g in 0..300u64 {
        let b: Vec<_> = (1..=1000u64)
            .map(|i| Record {
                envelope: Envelope {
                    seq: Seq(g * 1000 + i),
                    at: Timestamp(1_700_000_000_000 + g),
                    v: SCHEMA_VERSION,
                    job: JobId::new(),
                    event: Event::Submitted { spec: spec.clone(), body: BodyAt::Inline },
                },
                body: bytes::Bytes::from(format!("{{\"messages\":[{{\"role\":\"user\",\"content\":\"{}\"}}]}}", "x".repeat(200))),
            })
            .collect();
        log.append(&b, Durability::Written).unwrap();
    }
}
