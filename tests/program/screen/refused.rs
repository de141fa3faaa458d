use super::{Operator, Stage};

/// The halt stands until the operator has decided, and what he has mended meanwhile is what goes out.
#[test]
fn a_refused_master_key_halts_until_somebody_decides_and_is_read_anew() {
    let stage = Stage::of(12);
    stage.heal();
    let right = std::fs::read(stage.path("master.key")).unwrap();
    std::fs::write(stage.path("master.key"), "a-master-key-of-another-fleet").unwrap();
    let mut pty = stage.looked_at();
    pty.enters(stage.key()).pushes("12").sees("halted: refused_key");
    pty.key("c")
        .sees("Two sites refuse the master key")
        .sees("stay halted");
    std::fs::write(stage.path("master.key"), right).unwrap();
    pty.key("r").sees("verified 12").sees("settled");
    assert_eq!(pty.quits(), 0);
}
