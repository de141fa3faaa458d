//! What must not come over a socket, or stand in its place.

use std::os::unix::fs::{MetadataExt, PermissionsExt};

use stripe_propagate::attach::{self, AttachError};
use stripe_propagate::engine::Command;
use stripe_propagate::store::RunId;
use tempfile::TempDir;
use tokio::io::{AsyncBufReadExt, AsyncReadExt, AsyncWriteExt, BufReader};
use tokio::net::{UnixListener, UnixStream};
use tokio::sync::mpsc;

use super::harness::{HELLO, Process, about, attached, found, raw, sites};

#[tokio::test]
async fn who_says_nothing_is_not_waited_for() {
    let folder = TempDir::new().unwrap();
    let socket = folder.path().join("11.sock");
    let process = Process::start(folder.path(), 11, sites("a"), Vec::new());
    let found = found(folder.path()).await;
    let mut silent = UnixStream::connect(&socket).await.unwrap();
    tokio::time::pause();
    let mut said = Vec::new();
    silent.read_to_end(&mut said).await.unwrap();
    assert!(said.is_empty());
    // Nor does a screen wait: for a process that is stopped the system takes connections, and no more.
    drop(process);
    let stopped = UnixListener::bind(&socket).unwrap();
    assert!(attach::find(folder.path()).await.is_empty());
    let error = found.attach(&sites("a")).await.unwrap_err();
    assert_eq!(
        error.to_string(),
        "the run of process 11 does not answer within 5 s: is its process (PID 11) stopped?"
    );
    drop(stopped);
    let error = found.attach(&sites("a")).await.unwrap_err();
    assert!(matches!(error, AttachError::Gone { .. }), "{error}");
}

#[tokio::test]
async fn another_protocol_is_told_in_words() {
    let folder = TempDir::new().unwrap();
    let other = UnixListener::bind(folder.path().join("11.sock")).unwrap();
    tokio::spawn(async move {
        while let Ok((stream, _)) = other.accept().await {
            let mut stream = BufReader::new(stream);
            stream.read_line(&mut String::new()).await.unwrap();
            let hello = b"{\"protocol\":4,\"version\":\"0.9.0\",\"run\":12,\"sends\":true,\"by\":7}\n";
            stream.write_all(hello).await.unwrap();
        }
    });
    let found = found(folder.path()).await;
    assert!(found.sends && found.number == Some(RunId(12)));
    let error = found.attach(&sites("a")).await.unwrap_err();
    assert!(matches!(error, AttachError::OtherVersion { .. }));
    assert_eq!(
        error.to_string(),
        "run 12 belongs to another version of the program (0.9.0): leave it to that one"
    );
    // The other way round.
    let _process = Process::start(folder.path(), 12, sites("a"), Vec::new());
    let hello = r#"{"protocol":4,"version":"0.9.0","wants":["more"]}"#;
    let mut answer = String::new();
    let mut other = raw(folder.path(), 12, hello).await;
    other.read_to_string(&mut answer).await.unwrap();
    assert!(answer.starts_with(r#"{"protocol":3,"version":"0.1.0","pid":12,"run":null"#));
    assert_eq!(answer.lines().count(), 1);
}

#[tokio::test]
async fn a_process_stands_whatever_a_client_sends() {
    let folder = TempDir::new().unwrap();
    let mut process = Process::start(folder.path(), 11, sites("a b c"), Vec::new());
    let endless = "x".repeat(1024 * 1024 + 1);
    for first in [
        "",
        "{}",
        "\0",
        "[3]",
        r#"{"protocol":-1}"#,
        r#"{"protocol":3}"#,
        &endless,
    ] {
        let mut client = raw(folder.path(), 11, first).await;
        let mut answer = Vec::new();
        // A connection that ends on unread bytes is reset.
        let _reset = client.read_to_end(&mut answer).await;
        assert!(answer.is_empty(), "{first}: {}", String::from_utf8_lossy(&answer));
    }
    let deep = "[".repeat(10_000);
    let outside = r#"{"sites":[3]}"#;
    let twice = r#"{"order":{"retry":{"sites":[1,1],"allow":{"mode_change":true,"unrecognised":true}}}}"#;
    let secret = r#"{"order":{"resume":{"id":1,"key":"sk_live_51Example","began":[0,0]}}}"#;
    for line in [
        "{}",
        &deep,
        outside,
        twice,
        secret,
        r#"{"order":"explode"}"#,
        &endless,
    ] {
        let mut client = raw(folder.path(), 11, HELLO).await;
        client.write_all(line.as_bytes()).await.unwrap();
        client
            .write_all(b"\n{\"order\":\"pause\"}\n")
            .await
            .unwrap_or_default();
        let _reset = client.read_to_end(&mut Vec::new()).await;
    }
    let screen = attached(folder.path(), &sites("a")).await;
    screen.orders.send(Command::GoOn).unwrap();
    assert_eq!(process.orders.recv().await, Some(Command::GoOn));
}

#[tokio::test]
async fn a_screen_stands_whatever_a_process_sends() {
    let hello = |sites: u32| {
        format!(
            r#"{{"protocol":3,"version":"1","pid":9,"run":null,"sends":false,"info":null,"sites":{sites},
            "by":{{"user":"u","sudo_user":null,"host":"h","ssh_client":null,"pid":9}}}}"#
        )
        .replace('\n', "")
    };
    let endless = "x".repeat(4 * 1024 * 1024 + 1);
    let a = r#"{"sites":["https://a.example.com"]}"#;
    let cases = [
        (hello(u32::MAX), Err("makes no sense")),
        (format!("{}\n{{\"sites\":[]}}", hello(1)), Err("makes no sense")),
        (format!("{}\n{a}\n{a}", hello(3)), Err("is gone")),
        (
            format!("{}\n{{\"event\":\"taken\"}}", hello(1)),
            Err("makes no sense"),
        ),
        (hello(0), Ok(0)),
        (format!("{}\n{a}\n{{\"event\":\"taken\"}}\n{a}", hello(1)), Ok(1)),
        (format!("{}\n{{\"event\":\"taken\"}}\n{endless}", hello(0)), Ok(1)),
        (format!("{}\n{{\"event\":\"take", hello(0)), Ok(0)),
    ];
    for (answer, comes_to) in cases {
        let folder = TempDir::new().unwrap();
        let server = UnixListener::bind(folder.path().join("9.sock")).unwrap();
        let (first, _) = answer.split_once('\n').unwrap_or((&answer, ""));
        let (first, answer) = (format!("{first}\n"), format!("{answer}\n"));
        let serving = tokio::spawn(async move {
            for said in [first, answer] {
                let (mut stream, _) = server.accept().await.unwrap();
                let mut hello = [0; 8];
                stream.read_exact(&mut hello).await.unwrap();
                // The other side may have heard enough.
                let _broken = stream.write_all(said.as_bytes()).await;
                let _broken = stream.shutdown().await;
                let _broken = stream.read_to_end(&mut Vec::new()).await;
            }
        });
        match (found(folder.path()).await.attach(&sites("a")).await, comes_to) {
            (Ok(mut screen), Ok(events)) => {
                let mut told = 0;
                while screen.events.recv().await.is_some() {
                    told += 1;
                }
                assert_eq!(told, events);
            }
            (Err(error), Err(words)) => assert!(error.to_string().contains(words), "{error}"),
            (result, _) => panic!("{result:?}"),
        }
        serving.await.unwrap();
    }
}

#[tokio::test]
async fn a_socket_is_its_users_own_and_replaces_what_a_dead_process_left() {
    let folder = TempDir::new().unwrap();
    let path = |name: &str| folder.path().join(name);
    for name in ["11.sock", "12.sock"] {
        drop(UnixListener::bind(path(name)).unwrap());
    }
    let process = Process::start(folder.path(), 11, sites("a"), Vec::new());
    assert_eq!(
        path("11.sock").metadata().unwrap().permissions().mode() & 0o777,
        0o600
    );
    assert_eq!(found(folder.path()).await.about, about(11));
    assert!(!path("12.sock").exists(), "a dead socket stays");

    let offer = |pid| {
        process
            .hub
            .offer(folder.path(), about(pid), mpsc::unbounded_channel().0)
    };
    std::os::unix::fs::symlink(path("11.sock"), path("13.sock")).unwrap();
    std::fs::write(path("14.sock"), "a file").unwrap();
    for taken in [11, 13, 14] {
        let inode = path(&format!("{taken}.sock")).symlink_metadata().unwrap().ino();
        offer(taken).unwrap_err();
        let after = path(&format!("{taken}.sock")).symlink_metadata().unwrap().ino();
        assert_eq!(after, inode);
    }
    assert_eq!(found(folder.path()).await.about.pid, 11);
    assert!(path("14.sock").exists());
    let left: Vec<_> = std::fs::read_dir(folder.path()).unwrap().collect();
    assert_eq!(left.len(), 3, "{left:?}");
    drop(process);
    assert!(!path("11.sock").exists());
}
