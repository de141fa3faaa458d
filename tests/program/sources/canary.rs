use super::*;

#[test]
fn a_canary_can_be_a_site_that_only_a_source_lists() {
    let stage = Stage::of(24);
    stage.write(
        "shops.csv",
        &format!("name,url\nother,{}\nfirst,{}\n", stage.url(1), stage.url(0)),
    );
    let lists = |canary: &str| {
        stage.lists(&source("kind = \"file\"\npath = \"shops.csv\""));
        let text = std::fs::read_to_string(stage.path("config.toml")).unwrap();
        let named = format!("canary = [\"{canary}\"]");
        stage.write("config.toml", &text.replace("canary = 0", &named));
    };
    lists("nobody");
    let ended = stage.push(&[]);
    assert_eq!((ended.code, stage.puts()), (Some(2), 0), "{}", ended.err);
    assert!(
        ended
            .err
            .contains("canary names a site that is neither in this config nor in a source"),
        "{}",
        ended.err
    );
    lists("first");
    let ended = stage.push(&[]);
    assert_eq!((ended.code, stage.puts()), (Some(0), 2), "{}", ended.err);
    let mut sites = stage.fleet.sites().iter();
    let first = sites.position(|site| site.url.to_string() == stage.url(0));
    let requests = stage.fleet.record().requests;
    let put = requests.iter().find(|request| request.method == "PUT");
    assert_eq!(put.map(|put| put.site), first, "it goes before the one above it");
}

#[test]
fn a_site_of_a_bad_row_gets_no_key_and_is_no_canary_that_may_be_missing() {
    let stage = Stage::of(24);
    let own = |which, name| format!("[[sites]]\nurl = \"{}\"\nname = \"{name}\"\n", stage.url(which));
    let rows = format!("url,mode\n{},life\n{},any\n", stage.url(0), stage.url(1));
    stage.write("shops.csv", &rows);
    stage.lists(
        &[
            own(0, "first"),
            own(1, "other"),
            source("kind = \"file\"\npath = \"shops.csv\""),
        ]
        .concat(),
    );
    let text = std::fs::read_to_string(stage.path("config.toml")).unwrap();
    stage.write("config.toml", &text.replace("canary = 0", "canary = [\"first\"]"));
    let refused = stage.push(&[]);
    assert_eq!((refused.code, stage.puts()), (Some(2), 0), "{}", refused.err);
    assert!(refused.err.contains("rollout.canary"), "{}", refused.err);
    stage.write("config.toml", &text);
    let sent = stage.push(&[]);
    assert_eq!(
        (sent.code, stage.puts()),
        (Some(1), 1),
        "one is held back: {}",
        sent.err
    );
    let looked = stage.run(&["verify"]);
    assert_eq!(looked.code, Some(1), "{}{}", looked.out, looked.err);
}
