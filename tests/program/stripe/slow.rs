//! A Stripe that takes its time for each key of a fleet of many.

use std::io::{BufRead, BufReader, Write};
use std::net::{TcpListener, TcpStream};
use std::time::Duration;

use super::{Stage, key_with};

/// Four are asked of at once: four rounds.
const SHOPS: usize = 16;
/// Within the limit of one question.
const TAKES: Duration = Duration::from_millis(1500);

/// Plays the shops `/0`, `/1` and so on, each with a key of its own, and Stripe, to whom each of these has expired.
fn answer(mut stream: TcpStream) -> std::io::Result<()> {
    let mut lines = BufReader::new(stream.try_clone()?).lines();
    let request = lines.next().unwrap_or_else(|| Ok(String::new()))?;
    while lines.next().transpose()?.is_some_and(|line| !line.is_empty()) {}
    let path = request.split(' ').nth(1).unwrap_or_default();
    let (status, body) = if let Some(shop) = path.strip_suffix("/api/stripe-pk") {
        let key = key_with(&format!("Shop{}", shop.trim_start_matches('/')));
        (200, format!(r#"{{"success":true,"publishable_key":"{key}"}}"#))
    } else {
        std::thread::sleep(TAKES);
        (401, r#"{"error":{"code":"api_key_expired"}}"#.to_owned())
    };
    let length = body.len();
    write!(
        stream,
        "HTTP/1.1 {status} -\r\nContent-Type: application/json\r\nContent-Length: {length}\r\nConnection: close\r\n\r\n{body}"
    )
}

#[test]
fn a_slow_stripe_is_heard_of_each_of_many_keys() {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = format!("http://{}", listener.local_addr().unwrap());
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            // Who asks may be gone.
            std::thread::spawn(|| stream.and_then(answer));
        }
    });
    let stage = Stage::of(1);
    let sites = (0..SHOPS).map(|shop| format!("[[sites]]\nurl = \"{address}/{shop}\"\n"));
    let config = format!("[stripe]\napi = \"{address}\"\n{}", sites.collect::<String>());
    std::fs::write(stage.path("config.toml"), config).unwrap();
    let ended = stage.run(&["verify"], None);
    assert_eq!(
        (ended.code, ended.dead().len()),
        (Some(1), SHOPS),
        "{}",
        ended.err
    );
}
