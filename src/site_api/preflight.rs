use std::io;
use std::net::{IpAddr, SocketAddr};
use std::time::Duration;

use hyper::Method;
use jiff::Timestamp;
use reqwest::header::CONNECTION;
use rustls::pki_types::ServerName;
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpStream, lookup_host};
use tokio::time::{Instant, timeout_at};
use x509_cert::Certificate;
use x509_cert::der::Decode;

use super::answer::{self, Raw};
use super::client::{HttpSiteApi, Sent, problem, to, with_key};
use super::failure::classify_connection;
use super::limit::Limit;
use super::lines::On;
use crate::rules::outcome::{Answer, AuthVerdict, Cause, Problem};
use crate::rules::preflight::trial::Suitability;
use crate::rules::preflight::{self, Done, Step, StepResult};
use crate::site::Site;
use crate::text::CleanText;

/// The body of the PUT that asks about the master key and stores nothing. An empty value would be stored by old
/// versions (contract.md), so there is no other.
const NO_VALUE: &str = "{}";
/// Addresses of a name that are tried, and how many of them are named.
const TRIED: usize = 8;
const NAMED: usize = 3;

const PROXIED: &str = "a proxy stands between: it alone sees this";

/// Takes in each step as it ends.
type Tell<'a> = &'a (dyn Fn(Done) + Send + Sync);

/// Connecting has failed, in this step.
struct Broken(Step);

impl HttpSiteApi {
    /// The steps before the one with the master key: each is told as it ends. Returns what speaks for asking the site
    /// about the master key, or why it is not to be asked.
    ///
    /// DNS, TCP and TLS have `connect_timeout` together, the GET has `timeout`.
    ///
    /// # Errors
    /// Why the master key is not sent there.
    pub async fn reach(
        &self,
        site: &Site,
        now: Timestamp,
        tell: Tell<'_>,
    ) -> Result<Suitability, &'static str> {
        let _turn = self.backends.turn(site).await;
        if let Err(Broken(step)) = self.connect(site, now, tell).await {
            let why = format!("{} failed", step.head());
            for later in Step::ALL {
                if later > step && later < Step::Auth {
                    tell(Done::skipped(later, &why));
                }
            }
            return Err("the site was not reached: the master key is not sent");
        }
        let answer = self.look_on(On::Own, site, self.timeout).await;
        tell(Done {
            step: Step::Get,
            result: preflight::get(&answer),
            took: answer.took,
        });
        preflight::suitability(&answer.verdict)
    }

    /// Asks whether the site accepts its master key, by a PUT without a value, which stores nothing.
    pub async fn authenticate(&self, site: &Site) -> Answer<AuthVerdict> {
        let Some(master_key) = self.master_key(site.master_key) else {
            let verdict = AuthVerdict::Problem(Problem::NoMasterKey);
            return problem(verdict, Duration::ZERO, CleanText::default(), None);
        };
        let _turn = self.backends.turn(site).await;
        let request = with_key(to(site, Method::PUT, site.url.put_path()), &master_key)
            .header(CONNECTION, "close")
            .body(NO_VALUE.into());
        let mean = |raw: Raw<'_>| answer::auth(raw, Some(&master_key));
        // Which 400 it is stands in its body.
        let needs_body = |status| (200..300).contains(&status) || status == 400;
        let (on, limit) = (On::Own, Limit::of(self.timeout));
        let sent = Sent {
            site,
            request,
            on,
            limit,
        };
        self.ask(sent, mean, AuthVerdict::Problem, needs_body).await
    }

    /// DNS, TCP and TLS, on a connection that is closed behind them.
    async fn connect(&self, site: &Site, now: Timestamp, tell: Tell<'_>) -> Result<(), Broken> {
        let settings = self.lines.settings();
        let is_encrypted = site.url.is_encrypted();
        if settings.proxy.is_some() && is_encrypted {
            for step in [Step::Dns, Step::Tcp, Step::Tls] {
                tell(Done::skipped(step, PROXIED));
            }
            return Ok(());
        }
        let until = Instant::now() + settings.connect_timeout;
        // An IPv6 address stands in brackets in a URL.
        let host = site.url.host().trim_matches(['[', ']']);
        let addresses = timed(Step::Dns, tell, resolve(host, site.url.port(), until)).await?;
        let stream = timed(Step::Tcp, tell, open(&addresses, until)).await?;
        if !is_encrypted {
            tell(Done::skipped(
                Step::Tls,
                "http on this machine itself: there is no TLS",
            ));
            return Ok(());
        }
        timed(Step::Tls, tell, self.shake_hands(host, stream, until, now)).await
    }

    async fn shake_hands(
        &self,
        host: &str,
        stream: TcpStream,
        until: Instant,
        now: Timestamp,
    ) -> Result<((), StepResult), StepResult> {
        let name = ServerName::try_from(host.to_owned());
        let name = name.map_err(|_| failed(&io::Error::other("no name for a certificate")))?;
        let mut stream = match timeout_at(until, self.lines.connector().connect(name, stream)).await {
            Ok(connected) => connected.map_err(|error| failed(&error))?,
            Err(_) => return Err(failed(&io::ErrorKind::TimedOut.into())),
        };
        let certificates = stream.get_ref().1.peer_certificates();
        let ends = certificates.and_then(|all| end_of(all.first()?));
        // A server that is left without a word may write that to its log.
        let _in_time = timeout_at(until, stream.shutdown()).await;
        Ok(((), preflight::certificate(ends, now)))
    }
}

/// Does a step, and tells what it came to and how long it took.
async fn timed<T>(
    step: Step,
    tell: Tell<'_>,
    work: impl Future<Output = Result<(T, StepResult), StepResult>>,
) -> Result<T, Broken> {
    let begin = Instant::now();
    let (ended, result) = match work.await {
        Ok((value, result)) => (Ok(value), result),
        Err(result) => (Err(Broken(step)), result),
    };
    let took = begin.elapsed();
    tell(Done { step, result, took });
    ended
}

async fn resolve(host: &str, port: u16, until: Instant) -> Result<(Vec<SocketAddr>, StepResult), StepResult> {
    if let Ok(address) = host.parse::<IpAddr>() {
        let result = StepResult::Ok(CleanText::note(&format!("{address}, by the address itself")));
        return Ok((vec![SocketAddr::new(address, port)], result));
    }
    let found = match timeout_at(until, lookup_host((host, port))).await {
        Ok(Ok(found)) => found.take(TRIED).collect::<Vec<_>>(),
        Ok(Err(_)) => Vec::new(),
        Err(_) => {
            let sentence = "no name server answered within the limit";
            return Err(StepResult::Failed(Cause::Dns, CleanText::note(sentence)));
        }
    };
    if found.is_empty() {
        return Err(preflight::failed(Problem::Dns, None, &CleanText::default()));
    }
    let named: Vec<String> = found
        .iter()
        .take(NAMED)
        .map(|found| found.ip().to_string())
        .collect();
    let more = match found.len().saturating_sub(NAMED) {
        0 => String::new(),
        more => format!(" and {more} more"),
    };
    let result = StepResult::Ok(CleanText::note(&format!("{}{more}", named.join(", "))));
    Ok((found, result))
}

/// The first of the addresses that takes a connection. Each gets its share of the time: one that swallows what is
/// sent to it does not take that of the others.
async fn open(addresses: &[SocketAddr], until: Instant) -> Result<(TcpStream, StepResult), StepResult> {
    let mut last = io::Error::from(io::ErrorKind::TimedOut);
    for (place, address) in addresses.iter().enumerate() {
        let left = u32::try_from(addresses.len() - place).unwrap_or(u32::MAX);
        let share = until.saturating_duration_since(Instant::now()) / left;
        match timeout_at(Instant::now() + share, TcpStream::connect(address)).await {
            Ok(Ok(stream)) => {
                let before = match place {
                    0 => String::new(),
                    place => format!("; {place} before it did not"),
                };
                let sentence = format!("{address} takes connections{before}");
                return Ok((stream, StepResult::Ok(CleanText::note(&sentence))));
            }
            Ok(Err(error)) => last = error,
            Err(_) => last = io::ErrorKind::TimedOut.into(),
        }
    }
    Err(failed(&last))
}

fn failed(error: &io::Error) -> StepResult {
    let (problem, words) = classify_connection(error);
    preflight::failed(problem, None, &words)
}

/// When a certificate ends; none if it cannot be read.
fn end_of(certificate: &[u8]) -> Option<Timestamp> {
    let certificate = Certificate::from_der(certificate).ok()?;
    let validity = certificate.tbs_certificate().validity();
    let end = validity.not_after.to_unix_duration();
    Timestamp::from_second(i64::try_from(end.as_secs()).ok()?).ok()
}

#[cfg(test)]
mod tests {
    use std::sync::{Arc, Mutex};

    use tokio::io::AsyncReadExt;
    use tokio::net::TcpListener;

    use super::*;
    use crate::key::PublishableKey;
    use crate::secret::{MasterKey, ProxyUrl};
    use crate::site::{MasterKeyId, SiteMode, SiteUrl};
    use crate::site_api::{HttpSettings, SiteApi};

    fn site(url: &str) -> Site {
        let url = SiteUrl::parse(url).unwrap();
        Site {
            name: url.default_name(),
            backend: url.backend().into(),
            url,
            group: None,
            mode: SiteMode::Any,
            master_key: MasterKeyId(0),
            enabled: true,
        }
    }

    fn api(proxy: Option<ProxyUrl>) -> HttpSiteApi {
        let limit = Duration::from_secs(20);
        HttpSiteApi::new(&HttpSettings {
            connect_timeout: limit,
            timeout: limit,
            proxy,
            ca_pem: None,
            sites: 1,
            per_backend: 2,
        })
        .unwrap()
    }

    /// The words of the steps, and what speaks for the site.
    async fn steps(api: &HttpSiteApi, site: &Site) -> (Vec<&'static str>, bool) {
        let told = Mutex::new(Vec::new());
        let tell = |done: Done| told.lock().unwrap().push(done.result.word());
        let reached = api.reach(site, Timestamp::UNIX_EPOCH, &tell).await;
        (told.into_inner().unwrap(), reached.is_ok())
    }

    /// Answers so to each request, on a connection of its own; gives back what was asked.
    async fn serve(listener: TcpListener, answers: &[&str]) -> Vec<String> {
        let mut asked = Vec::new();
        while asked.len() < answers.len() {
            let (mut stream, _) = listener.accept().await.unwrap();
            let mut bytes = vec![0; 4096];
            // The connection that only tries whether there is one says nothing.
            let read = stream.read(&mut bytes).await.unwrap_or(0);
            if read > 0 {
                let body = answers[asked.len()];
                let answer = format!("HTTP/1.1 {body}");
                stream.write_all(answer.as_bytes()).await.unwrap();
                asked.push(String::from_utf8_lossy(&bytes[..read]).into_owned());
            }
        }
        asked
    }

    #[tokio::test]
    async fn on_loopback_there_may_be_no_tls_and_the_body_is_empty_braces() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = site(&format!("http://{}", listener.local_addr().unwrap()));
        let none = "404 Not Found\r\nContent-Length: 51\r\n\r\n{\"success\": false, \"message\": \"no_publishable_key\"}";
        let missing = "400 Bad Request\r\nContent-Length: 26\r\n\r\n{\"error\": \"Missing value\"}";
        let served = tokio::spawn(async move { serve(listener, &[none, missing]).await });
        let api = api(None);
        api.set_master_key(MasterKeyId(0), MasterKey::parse("m4ster-key".to_owned()).unwrap());
        assert_eq!(
            steps(&api, &site).await,
            (vec!["ok", "ok", "skipped", "ok"], true)
        );
        assert_eq!(api.authenticate(&site).await.verdict, AuthVerdict::Accepted);
        let asked = served.await.unwrap();
        assert!(
            asked[0].starts_with("GET /api/stripe-pk HTTP/1.1"),
            "{}",
            asked[0]
        );
        assert!(!asked[0].contains("m4ster-key"));
        let put = "PUT /api/export/settings/stripe_publishable_key HTTP/1.1";
        assert!(
            asked[1].starts_with(put) && asked[1].ends_with("\r\n\r\n{}"),
            "{}",
            asked[1]
        );
    }

    #[tokio::test]
    async fn what_a_proxy_alone_can_see_is_left_out() {
        // Nothing listens there any more.
        let closed = TcpListener::bind("127.0.0.1:0")
            .await
            .unwrap()
            .local_addr()
            .unwrap();
        let api = api(Some(ProxyUrl::parse(&format!("http://{closed}")).unwrap()));
        let (words, reached) = steps(&api, &site("https://shop.example.com")).await;
        assert_eq!(words, ["skipped", "skipped", "skipped", "failed"]);
        assert!(!reached);
    }
    /// Answers each request after a moment, and counts how many are under way at once.
    async fn crowded(listener: TcpListener, most: Arc<Mutex<(usize, usize)>>) {
        loop {
            let (mut stream, _) = listener.accept().await.unwrap();
            let most = Arc::clone(&most);
            tokio::spawn(async move {
                let mut bytes = vec![0; 4096];
                if stream.read(&mut bytes).await.unwrap_or(0) == 0 {
                    return;
                }
                {
                    let mut count = most.lock().unwrap();
                    count.0 += 1;
                    count.1 = count.1.max(count.0);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
                most.lock().unwrap().0 -= 1;
                let none =
                    "HTTP/1.1 503 Service Unavailable\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                let _gone = stream.write_all(none.as_bytes()).await;
            });
        }
    }

    #[tokio::test]
    async fn a_backend_is_not_called_more_often_at_once_for_a_preflight_beside_a_run() {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let site = site(&format!("http://{}", listener.local_addr().unwrap()));
        let most = Arc::new(Mutex::new((0, 0)));
        let served = tokio::spawn(crowded(listener, Arc::clone(&most)));
        let api = api(None);
        api.set_master_key(MasterKeyId(0), MasterKey::parse("m4ster-key".to_owned()).unwrap());
        let key = PublishableKey::parse("pk_test_51ExampleExampleExampleExampleAbCd").unwrap();
        let limit = Duration::from_secs(20);
        let (site, silent) = (&site, |_| {});
        let all = tokio::join!(
            api.look(site, limit, true),
            api.look(site, limit, true),
            api.put(site, &key),
            api.put(site, &key),
            api.reach(site, Timestamp::UNIX_EPOCH, &silent),
            api.reach(site, Timestamp::UNIX_EPOCH, &silent),
            api.authenticate(site),
            api.authenticate(site),
        );
        assert_eq!(all.0.http, Some(503), "they reached it");
        let (now, at_once) = *most.lock().unwrap();
        assert!(now == 0 && at_once <= 2, "{at_once} at once");
        served.abort();
    }
}
