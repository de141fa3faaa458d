use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair, date_time_ymd};
use rustls::ServerConfig;
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio_rustls::TlsAcceptor;

use super::faults::Handshake;

type Authority = CertifiedIssuer<'static, KeyPair>;

/// Makes the handshakes of a fleet.
pub(super) struct Certificates {
    ca_pem: String,
    good: TlsAcceptor,
    odd: HashMap<Handshake, TlsAcceptor>,
}

impl Certificates {
    /// Certificates for `addresses` from an authority made for them, and those with which handshakes are `odd`.
    pub(super) fn make(addresses: &[IpAddr], odd: impl Iterator<Item = Handshake>) -> anyhow::Result<Self> {
        let authority = authority("stripe-propagate demo CA")?;
        let names = || {
            addresses
                .iter()
                .map(IpAddr::to_string)
                .chain(["localhost".to_owned()])
        };
        let params = || params(names());
        let good = acceptor(&params()?, &authority)?;
        let mut acceptors = HashMap::new();
        for handshake in odd {
            if acceptors.contains_key(&handshake) {
                continue;
            }
            let made = match handshake {
                Handshake::Expired => {
                    let mut params = params()?;
                    params.not_before = date_time_ymd(2001, 1, 1);
                    params.not_after = date_time_ymd(2002, 1, 1);
                    acceptor(&params, &authority)?
                }
                Handshake::OtherHost => {
                    acceptor(&self::params(["elsewhere.example".to_owned()])?, &authority)?
                }
                Handshake::UnknownAuthority => {
                    acceptor(&params()?, &self::authority("an authority of nobody")?)?
                }
                Handshake::OldVersion | Handshake::Hangs | Handshake::Reset => continue,
            };
            acceptors.insert(handshake, made);
        }
        Ok(Self {
            ca_pem: authority.pem(),
            good,
            odd: acceptors,
        })
    }

    /// The authority of the good ones.
    pub(super) fn ca_pem(&self) -> &str {
        &self.ca_pem
    }

    /// Makes odd handshakes, or good ones.
    pub(super) fn acceptor(&self, odd: Option<Handshake>) -> &TlsAcceptor {
        odd.and_then(|odd| self.odd.get(&odd)).unwrap_or(&self.good)
    }
}

fn authority(name: &str) -> anyhow::Result<Authority> {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, name);
    Ok(CertifiedIssuer::self_signed(params, KeyPair::generate()?)?)
}

fn params(names: impl IntoIterator<Item = String>) -> anyhow::Result<CertificateParams> {
    let mut params = CertificateParams::new(names.into_iter().collect::<Vec<_>>())?;
    params
        .distinguished_name
        .push(DnType::CommonName, "stripe-propagate demo site");
    Ok(params)
}

fn acceptor(params: &CertificateParams, authority: &Authority) -> anyhow::Result<TlsAcceptor> {
    let key = KeyPair::generate()?;
    let certificate = params.signed_by(&key, authority)?;
    let private = PrivateKeyDer::Pkcs8(PrivatePkcs8KeyDer::from(key.serialize_der()));
    let provider = Arc::new(rustls::crypto::aws_lc_rs::default_provider());
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()?
        .with_no_client_auth()
        .with_single_cert(vec![certificate.der().clone()], private)?;
    config.ticketer = rustls::crypto::aws_lc_rs::Ticketer::new()?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
