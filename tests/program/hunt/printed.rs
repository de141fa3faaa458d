use std::fmt::Debug;
use std::panic::{AssertUnwindSafe, catch_unwind};

use reqwest::header::HeaderValue;
use stripe_propagate::config::{self, Place};
use stripe_propagate::key::PublishableKey;
use stripe_propagate::notify;
use stripe_propagate::secret::{MasterKey, Secret, SecretSource, WebhookUrl};
use stripe_propagate::site::MasterKeyId;
use stripe_propagate::site_api::{HttpSettings, HttpSiteApi};

use super::canaries::{self, MISPLACED, Search};

/// That a value tells no secret as it is printed for a programmer, and so in no panic that tells of it.
#[track_caller]
fn tells_nothing(search: &Search, what: &str, value: &dyn Debug) {
    search.finds_nothing(what, format!("{value:?} {value:#?}").as_bytes());
    let panic = catch_unwind(AssertUnwindSafe(|| std::panic::panic_any(format!("{value:?}"))));
    let text = panic.unwrap_err().downcast::<String>().unwrap();
    search.finds_nothing(what, text.as_bytes());
}

/// A config with a secret wherever one can stand, and in arguments and addresses as well.
fn config_text() -> String {
    format!(
        "[master_key]\nvalue = '{}'\n[push]\nproxy = \"http://ops:{}@proxy.example.com:3128\"\n[store]\nurl = {{ value = \"postgres://ops:{}@db.example.com/keys\" }}\n[notify]\ncommand = [\"tell\", \"{MISPLACED}\"]\nwebhook = {{ value = \"{}\" }}\n\
         [[sources]]\nkind = \"http\"\nurl = \"https://shops.example.com/list?token={MISPLACED}\"\nheader = {{ name = \"A\", value = {{ value = \"{}\" }} }}\n\
         [[sources]]\nkind = \"sql\"\nurl = {{ value = \"postgres://ops:{}@db/shops\" }}\nquery = \"select url from sites\"\n\
         [[sources]]\nkind = \"command\"\ncommand = [\"list\", \"--token\", \"{MISPLACED}\"]\n\
         [[sites]]\nurl = \"https://shop.example.com\"\nmaster_key = {{ command = [\"echo\", \"{MISPLACED}\"] }}\n",
        canaries::VALUE,
        canaries::PROXY,
        canaries::STORE,
        canaries::WEBHOOK,
        canaries::TOKEN,
        canaries::PASSWORD,
    )
}

#[tokio::test]
async fn no_value_that_holds_a_secret_prints_it() {
    let search = Search::of(&canaries::all());
    let master_key = MasterKey::parse(canaries::ENV.to_owned()).unwrap();
    let webhook = format!("https://hooks.example.com/{}", canaries::WEBHOOK);
    let webhook = WebhookUrl::parse(webhook).unwrap();
    let secret = Secret::parse(canaries::TOKEN.to_owned()).unwrap();
    tells_nothing(&search, "a master key", &master_key);
    tells_nothing(&search, "a webhook", &webhook);
    tells_nothing(&search, "a secret", &secret);
    tells_nothing(
        &search,
        "a secret key",
        &PublishableKey::parse(canaries::GIVEN[0]),
    );
    tells_nothing(
        &search,
        "a wrong master key",
        &MasterKey::parse(canaries::GIVEN[1].to_owned()),
    );

    let text = config_text();
    let place = Place {
        path: "/config.toml".as_ref(),
        home: None,
        owner_only: true,
    };
    let config = config::parse(&text, place).unwrap();
    tells_nothing(&search, "a config", &config);

    let http = HttpSettings {
        connect_timeout: config.push.connect_timeout,
        timeout: config.push.timeout,
        proxy: config.push.proxy.clone(),
        ca_pem: None,
        sites: 1,
        per_backend: 1,
    };
    tells_nothing(&search, "how sites are reached", &http);
    let api = HttpSiteApi::new(&http).unwrap();
    api.set_master_key(MasterKeyId(0), master_key.clone());
    tells_nothing(&search, "the client of the sites", &api);
    let notices = notify::Settings {
        command: Some(["tell", "--token", MISPLACED].map(str::to_owned).into()),
        webhook: Some(SecretSource::Value(canaries::WEBHOOK.into())),
        hidden: Vec::new(),
        http,
    };
    tells_nothing(&search, "what notices are told by", &notices);

    // What reqwest would tell of a request and of its error.
    let client = reqwest::Client::new();
    let header: HeaderValue = master_key.header_value();
    let request = client.put("http://127.0.0.1:1/").header("X-API-Key", header);
    tells_nothing(&search, "a request", &request);
    tells_nothing(&search, "an error of a request", &request.send().await);
}
