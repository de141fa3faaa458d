use super::*;

/// Enters a secret in this way, and tries to push it.
fn a_secret_goes_nowhere(enter: impl FnOnce(&mut Pty) -> &mut Pty) {
    let stage = Stage::of(3);
    let mut pty = stage.looked_at();
    pty.key("e").sees("paste or type a publishable key");
    enter(&mut pty);
    pty.sees("a SECRET key (sk_…): it must never leave");
    pty.comes_to_rest(Duration::from_millis(1500)).key("Enter");
    pty.sees_no("Enter done").key("P").sees("there is no key to push");
    assert_eq!(pty.quits(), 0);
    for text in BEHIND {
        pty.never_saw(text);
    }
    for text in KEPT_NOWHERE {
        pty.never_wrote(text);
    }
    assert_eq!(stage.puts(), 0);
}

#[test]
fn a_typed_secret_goes_nowhere() {
    a_secret_goes_nowhere(|pty| pty.type_(SECRET));
}

#[test]
fn a_pasted_secret_goes_nowhere() {
    a_secret_goes_nowhere(|pty| pty.paste(SECRET));
}

#[test]
fn a_secret_pasted_without_marks_goes_nowhere() {
    a_secret_goes_nowhere(|pty| pty.raw_paste(&format!("{SECRET}\rPy\r")));
}

#[test]
fn a_secret_pasted_outside_the_field_goes_nowhere() {
    let stage = Stage::of(3);
    let mut pty = stage.looked_at();
    pty.paste(SECRET).sees("a SECRET key (sk_…): it must never leave");
    pty.comes_to_rest(Duration::from_millis(1500)).raw_paste(SECRET);
    pty.sees("pasted text was ignored");
    assert_eq!(pty.quits(), 0);
    for text in BEHIND {
        pty.never_saw(text);
    }
    for text in KEPT_NOWHERE {
        pty.never_wrote(text);
    }
    assert_eq!(stage.puts(), 0);
}

#[test]
fn enter_held_down_pushes_nothing() {
    let stage = Stage::of(6);
    let mut pty = stage.looked_at();
    pty.enters(stage.key()).key("P");
    for _ in 0..40 {
        pty.key("Enter");
    }
    pty.sees("type 6 to push").raw_paste(&"\r".repeat(40));
    pty.key("Esc").sees_no("to push, then Enter");
    // The same in one read, with the key that opens the plan in the middle.
    let held = "\r".repeat(20);
    pty.raw_paste(&format!("{held}P{held}")).sees("n p others");
    pty.key("Esc")
        .sees_no("n p others")
        .sees_no("to push, then Enter");
    assert_eq!(pty.quits(), 0);
    assert_eq!(stage.puts(), 0);
}

#[test]
fn a_pasted_key_with_a_line_end_and_more_behind_it_neither_pushes_nor_quits() {
    let stage = Stage::of(6);
    let mut pty = stage.looked_at();
    for marked in [true, false] {
        pty.key("e")
            .sees("Enter done")
            .key("^U")
            .sees("paste or type a publishable key");
        let text = format!("{}\rqP6\r6\rq", stage.key());
        if marked {
            pty.paste(&text)
                .sees("\u{2713} test publishable key")
                .key("Enter");
        } else {
            pty.raw_paste(&text).sees("\u{2713} test publishable key");
        }
        pty.sees("P reviews and pushes 6").sees_no("to push, then Enter");
    }
    assert_eq!(pty.quits(), 0);
    assert_eq!(stage.puts(), 0);
}

#[test]
fn a_key_pasted_outside_the_field_is_no_command() {
    let stage = Stage::of(6);
    let text = format!("{}\rq", stage.key());
    for paste in [Pty::paste, Pty::raw_paste] {
        let mut pty = stage.looked_at();
        paste(&mut pty, &text).sees("pasted text was ignored");
        assert_eq!(pty.quits(), 0);
    }
    assert_eq!(stage.puts(), 0);
}
