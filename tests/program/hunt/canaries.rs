//! Secrets that stand nowhere else, and the search for them, whatever they are written with.

use std::fmt::Write;

use base64::Engine;
use base64::engine::general_purpose::STANDARD;

/// A secret, or what of it is as good as random.
#[derive(Debug, Clone)]
pub(crate) struct Canary {
    pub(crate) name: &'static str,
    pub(crate) text: String,
}

impl Canary {
    pub(crate) fn of(name: &'static str, text: &str) -> Self {
        let text = text.to_owned();
        Self { name, text }
    }
}

/// Master keys, by where they come from. Some have what JSON, a URL or HTML has to escape.
pub(crate) const ENV: &str = "Vq7Zt0mK4xBn9Lw2Rc6Hd8Jf3Pg5Ys1";
pub(crate) const COMMAND: &str = "Wd2\"Xk/8Rv+5Tn&0Mb%7Qz=3Lc<9Hj";
pub(crate) const CREDENTIAL: &str = "Ge4Uo9Fi2Ra7Vy1Nk6Wx3Bt8Ch5Mp0";
pub(crate) const VALUE: &str = "Jm8#Yb3&Dx5+Kt1/Wq6\"Nz0=Ph9<Sf";
pub(crate) const GROUP: &str = "Tc5Lr0Qh8Zn3Xv7Jd1Fw6Gk2Bm9Sy4";
pub(crate) const SOURCE: &str = "Ph1Ws6Ek9Qb4Mr2Ux7Dn0Yc5Zt8Vj3";
pub(crate) const ROW: &str = "Bx6Nf2Yj7Ct9Kw0Ga5Sv3Hq8Rd1Lz4";
/// The password in the address of a database, the value of a header, the end of a webhook's address.
pub(crate) const PASSWORD: &str = "Rk3Zd8Vm1Hs6Tx0Wc5Jy9Qf2Ln7Pb4";
/// The passwords in the addresses of the store and of the proxy.
pub(crate) const STORE: &str = "Dq8Xm2Rz6Kv1Tn9Gb5Hw0Jc4Lf7Sy3P";
pub(crate) const PROXY: &str = "Mv3Hb7Kx0Zq5Wt9Jd2Rn6Gc8Lp1Fs4Y";
pub(crate) const TOKEN: &str = "Sn9Gt4Bv2Kq7Wm0Xe5Fj1Rc8Zh3Dy6";
pub(crate) const WEBHOOK: &str = "Xf5Jc0Mw8Tn3Rq6Lb1Yk9Hz4Vd7Gs2";
/// What stands in a config, in a place that is no place for it.
pub(crate) const MISPLACED: &str = "Zw1Kp7Hn4Vt9Bs2Qm6Jx0Cf5Ry8Ld3";
/// Stripe's secrets: what a site shows, and what is typed, pasted, or given as the key.
pub(crate) const SHOWN: &str = "sk_live_51Hc8Wz3Nq6Kt1Xv0Gb5Jm9Rd2Fy7Lp4";
pub(crate) const GIVEN: [&str; 4] = [
    "sk_live_51Qd3Rv8Mx1Zk6Tn0Hw5Cb9Jf2Ys7Pg4",
    "rk_live_51Fn7Yt2Kc9Wq4Xz1Lb6Gv0Rm5Hd8Js3",
    "whsec_Lz2Vx7Bq0Nc5Tk8Wm3Hf6Rj1Yd9Gp4Xs",
    "ek_live_51Mb4Gw9Xr2Jt7Kz0Vn5Qc8Hd3Fy6Ls1",
];

/// All of them. Of Stripe's only what stands behind the prefix.
pub(crate) fn all() -> Vec<Canary> {
    let mut all = vec![
        Canary::of("the master key in a variable", ENV),
        Canary::of("the master key of a command", COMMAND),
        Canary::of("the master key of a credential", CREDENTIAL),
        Canary::of("the master key in the config", VALUE),
        Canary::of("the master key of a group", GROUP),
        Canary::of("the master key of a source", SOURCE),
        Canary::of("the master key of a row", ROW),
        Canary::of("the password of a database", PASSWORD),
        Canary::of("the password of the store", STORE),
        Canary::of("the password of the proxy", PROXY),
        Canary::of("the value of a header", TOKEN),
        Canary::of("the address of a webhook", WEBHOOK),
        Canary::of("what stands in a wrong place", MISPLACED),
    ];
    for secret in GIVEN.into_iter().chain([SHOWN]) {
        let (_, behind) = secret.rsplit_once('_').unwrap();
        all.push(Canary::of("a secret of Stripe's", behind));
    }
    all
}

/// How a text is written where it is not meant to be read.
pub(crate) fn hex(text: &str) -> String {
    each_escaped(text, |byte| format!("{byte:02x}"))
}

pub(crate) fn each_escaped(text: &str, with: fn(u8) -> String) -> String {
    text.bytes().map(with).collect()
}

pub(crate) fn in_url(text: &str) -> String {
    text.bytes().fold(String::new(), |mut url, byte| {
        if byte.is_ascii_alphanumeric() {
            url.push(byte.into());
        } else {
            write!(url, "%{byte:02X}").unwrap();
        }
        url
    })
}

/// The forms that are searched for: whole, its beginning and its end, also turned round, in the other case, in hexadecimal
/// digits, in base64 wherever it begins there, and with the escapes of a URL and of JSON.
fn forms(secret: &str) -> Vec<String> {
    let (start, end) = (&secret[..12], &secret[secret.len() - 12..]);
    let turned: String = secret.chars().rev().take(12).collect();
    let mut forms = vec![
        start.to_owned(),
        end.to_owned(),
        turned,
        start.to_lowercase(),
        start.to_uppercase(),
        hex(start),
        hex(start).to_uppercase(),
        in_url(start),
        serde_json::to_string(start).unwrap().trim_matches('"').to_owned(),
    ];
    for before in ["", "x", "xy"] {
        let encoded = STANDARD.encode(format!("{before}{secret}"));
        // What stands beside it has a part in the first group and the last.
        forms.push(encoded[4..20].to_owned());
        forms.push(encoded[4..20].replace('+', "-").replace('/', "_"));
    }
    forms.sort();
    forms.dedup();
    forms
}

/// Looks for canaries in bytes.
#[derive(Debug)]
pub(crate) struct Search {
    forms: Vec<(&'static str, Vec<u8>)>,
    /// Which two bytes begin a form: most of what is searched begins none.
    begins: Vec<bool>,
}

impl Search {
    pub(crate) fn of(canaries: &[Canary]) -> Self {
        let mut search = Self {
            forms: Vec::new(),
            begins: vec![false; 1 << 16],
        };
        for canary in canaries {
            for form in forms(&canary.text) {
                search.begins[pair(form.as_bytes())] = true;
                search.forms.push((canary.name, form.into_bytes()));
            }
        }
        search
    }

    /// Which canaries stand in `bytes`, each with some of what stands before it.
    pub(crate) fn find(&self, bytes: &[u8]) -> Vec<String> {
        let mut found = Vec::new();
        for at in 0..bytes.len().saturating_sub(1) {
            if !self.begins[pair(&bytes[at..])] {
                continue;
            }
            for (name, form) in &self.forms {
                if bytes[at..].starts_with(form) {
                    let context = &bytes[at.saturating_sub(80)..(at + form.len() + 20).min(bytes.len())];
                    found.push(format!("{name}: {}", context.escape_ascii()));
                }
            }
        }
        found
    }

    /// That none stands there.
    #[track_caller]
    pub(crate) fn finds_nothing(&self, place: &str, bytes: &[u8]) {
        let found = self.find(bytes);
        assert!(found.is_empty(), "in {place}:\n{}", found.join("\n"));
    }
}

fn pair(bytes: &[u8]) -> usize {
    usize::from(bytes[0]) << 8 | usize::from(bytes[1])
}

/// What of a terminal's bytes is text: control sequences (`ESC [ … letter`) are left out.
pub(crate) fn without_sequences(bytes: &[u8]) -> Vec<u8> {
    let mut text = Vec::new();
    let mut rest = bytes.iter().copied();
    while let Some(byte) = rest.next() {
        if byte != 0x1b {
            text.push(byte);
        } else if rest.next() == Some(b'[') {
            rest.find(|byte| (0x40..=0x7e).contains(byte));
        }
    }
    text
}

#[test]
fn a_canary_is_found_in_each_form() {
    let search = Search::of(&all());
    for canary in all() {
        let text = &*canary.text;
        let turned: String = text.chars().rev().collect();
        for written in [
            text.to_owned(),
            text[..12].to_owned(),
            text.to_uppercase(),
            turned,
            hex(text),
            in_url(text),
            serde_json::to_string(text).unwrap(),
            STANDARD.encode(format!("user:{text}")),
            STANDARD.encode(format!("a user:{text}")),
            STANDARD.encode(format!("my user:{text}")),
        ] {
            let found = search.find(format!("\0before {written} behind").as_bytes());
            assert!(!found.is_empty(), "{} as {written}", canary.name);
        }
    }
    search.finds_nothing(
        "a text without any",
        b"GET /api/stripe-pk \x1b[31m pk_live_\xe2\x80\xa6AbCd",
    );
}
